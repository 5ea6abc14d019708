"""Peers to be made, from a table in CSV (RFC 4180) whose header names the fields."""

from __future__ import annotations

import csv
import io
import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from wgbind.api.change import NewPeer
from wgbind.errors import ConflictError, InputError
from wgbind.keys import PresharedKey, PrivateKey, PublicKey
from wgbind.settings.address import Endpoint, parse_address, parse_network, parse_peer_endpoint
from wgbind.settings.client import ClientOverrides
from wgbind.store.expiry import parse_expiry, utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from wgbind.api.peers import Peers
    from wgbind.store.peer import Peer


class PeerTable:
    """The peers in a file in CSV.

    The header names columns: `name`, and any of `public_key`, `address`, `route`, `group`,
    `endpoint`, `keepalive`, `psk` (yes or no), `description`, `notes`, `expires`, `allowed_ips`,
    `exclude`, `dns` and `mtu`, as the options of `wgbind peer add`, `enabled` (yes or no), and the
    secrets `preshared_key` and `private_key`. A cell of several values has spaces between them; an
    empty one is as if the column were not there.

    Args:
        path: The file; raises `OSError` if it cannot be read, `InputError`, with line and column,
            for what is wrong in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                self._rows = list(self._read(file))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: it is no CSV in UTF-8: {error}") from None

    @property
    def peers(self) -> list[NewPeer]:
        """The peers, in the file's order."""
        return [peer for _, peer in self._rows]

    @property
    def names(self) -> list[str]:
        """The names of the peers, in the file's order."""
        return [peer.name for _, peer in self._rows]

    def add_to(self, peers: Peers) -> Sequence[Peer]:
        """Add all the peers, or none; raises as `Peers.add` does, with the line."""
        try:
            return peers.add_many([peer for _, peer in self._rows])
        except (InputError, ConflictError) as error:
            if error.item is None:
                raise
            line, _ = self._rows[error.item]
            raise type(error)(f"{self._path}:{line}: {error}") from None

    def _read(self, file: Iterator[str]) -> Iterator[tuple[int, NewPeer]]:
        reader = csv.reader(file, strict=True)
        header = [column.strip() for column in next(reader, [])]
        if "name" not in header:
            raise InputError(f"{self._path}:1: column name is missing; the first line names them")
        for column in header:
            if column not in {"name", *_PARSERS, *_CLIENT} or header.count(column) > 1:
                known = ", ".join(["name", *_PARSERS, *_CLIENT])
                raise InputError(
                    f"{self._path}:1: column {column!r} is unknown or there twice; use {known}"
                )
        for row in reader:
            if not row:
                continue
            line = reader.line_num
            if len(row) != len(header):
                raise InputError(
                    f"{self._path}:{line}: {len(row)} cells under {len(header)} columns; "
                    "put quotation marks around a cell with a comma"
                )
            cells = {column: cell.strip() for column, cell in zip(header, row, strict=True) if cell}
            yield line, self._peer(line, cells)

    def _peer(self, line: int, cells: dict[str, str]) -> NewPeer:
        fields: dict[str, object] = {}
        client = ClientOverrides()
        column = "name"
        try:
            for column, cell in cells.items():
                if column in _CLIENT:
                    client = client.changed(**{_CLIENT[column]: cell.split()})
                elif column in _PARSERS:
                    field, parse = _PARSERS[column]
                    fields[field] = parse(cell)
        except InputError as error:
            raise InputError(f"{self._path}:{line}: column {column}: {error}") from None
        return NewPeer(cells.get("name", ""), client=client, **fields)  # type: ignore[arg-type]


def _yes(text: str) -> bool:
    if text not in {"yes", "no"}:
        raise InputError(f"{text!r}: write yes or no")
    return text == "yes"


def _seconds(text: str) -> int:
    if re.fullmatch("[0-9]{1,5}", text) is None:
        raise InputError(f"{text!r}: write 0 (off) to 65535 seconds")
    return int(text)


# Each column with the field that it gives, and how.
_PARSERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "public_key": ("public_key", PublicKey),
    "address": ("addresses", lambda text: tuple(map(parse_address, text.split()))),
    "route": ("routed_networks", lambda text: tuple(map(parse_network, text.split()))),
    "group": ("groups", lambda text: frozenset(text.split())),
    "endpoint": ("endpoint", parse_peer_endpoint),
    "keepalive": ("persistent_keepalive", _seconds),
    "psk": ("preshared_key", _yes),
    "preshared_key": ("preshared_key", PresharedKey),
    "private_key": ("private_key", PrivateKey),
    "enabled": ("enabled", _yes),
    "description": ("description", str),
    "notes": ("notes", str),
    "expires": ("expires_at", lambda text: parse_expiry(text, datetime.now(timezone.utc))),
}
_CLIENT = {"allowed_ips": "allowed_ips", "exclude": "excluded_ips", "dns": "dns", "mtu": "mtu"}


def table(peers: Iterable[Peer], *, secrets: bool) -> str:
    """Write peers as `PeerTable` reads them; what all leave empty has no column."""
    rows = [_row(peer, secrets=secrets) for peer in peers]
    columns = ["name", *(each for each in _COLUMNS if any(row[each] for row in rows))]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(peer: Peer, *, secrets: bool) -> dict[str, str]:
    client = peer.client
    allowed = client.allowed_ips or ()
    row = {
        "name": peer.name,
        "public_key": str(peer.public_key),
        "address": _spaced(peer.addresses),
        "route": _spaced(peer.routed_networks),
        "group": _spaced(sorted(peer.groups)),
        "endpoint": "" if peer.endpoint is None else str(Endpoint(*peer.endpoint)),
        "keepalive": str(peer.persistent_keepalive or ""),
        "psk": "no" if peer.preshared_key is None else "",
        "enabled": "" if peer.enabled else "no",
        "description": peer.description,
        "notes": peer.notes,
        "expires": "" if peer.expires_at is None else utc_text(peer.expires_at),
        "allowed_ips": allowed if isinstance(allowed, str) else _spaced(allowed),
        "exclude": _spaced(client.excluded_ips or ()),
        "dns": _spaced(client.dns or ()),
        "mtu": str(client.mtu or ""),
        "preshared_key": "",
        "private_key": "",
    }
    if secrets and peer.preshared_key is not None:
        row["preshared_key"] = peer.preshared_key.reveal()
    if secrets and peer.private_key is not None:
        row["private_key"] = peer.private_key.reveal()
    return row


def _spaced(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


_COLUMNS = (*_PARSERS, *_CLIENT)
