"""Peers in files: tables in CSV, documents, and configurations of wg and wg-quick."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from wgbind.api.change import NewPeer
from wgbind.apply.difference import difference
from wgbind.apply.document import Document
from wgbind.errors import InputError
from wgbind.server.peer_csv import PeerTable
from wgbind.wg_quick.file import WgQuickFile
from wgbind.wg_quick.friendly_name import peer_name
from wgbind.wg_quick.peer_section import read_peer

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from pathlib import Path

    from wgbind.server.configuration import Configuration
    from wgbind.settings.address import InterfaceAddress
    from wgbind.wg_quick.file import PeerEntry

_DOCUMENTS = {".json", ".yaml", ".yml", ".toml"}


def read_peers(path: Path, configuration: Configuration) -> Sequence[NewPeer]:
    """Read the peers of a file: a table if it ends in .csv, a document in .json, .yaml or .toml.

    Any other is a configuration of wg or wg-quick. Of a server's, these are its peers, with the
    names that comments give them; a client's, whose server has this `configuration`, is a peer
    itself, named as the file is. Raises `InputError`, with the line, for what is wrong in it, and
    `OSError`.
    """
    if path.suffix == ".csv":
        return PeerTable(path).peers
    if path.suffix in _DOCUMENTS:
        document = Document.read(path)
        if document.settings:
            raise InputError(
                f"{document.source.at('settings')}key settings: an import adds peers alone; "
                "`wgbind apply` takes settings, too"
            )
        return difference((), document.peers or {}, prune=False).added
    try:
        file = WgQuickFile.parse(path.read_text("utf-8"), str(path))
    except UnicodeDecodeError:
        raise InputError(f"{path}: it is not UTF-8 text; save it as such") from None
    own = configuration.private_key.public_key()
    pools = configuration.settings.interface.addresses
    for entry in file.peers:
        if entry.public_key == own:
            return [_client(path, file, entry)]
    new: dict[str, NewPeer] = {}
    for entry in file.peers:
        peer = _peer(file, entry, pools, new)
        new[peer.name] = peer
    return list(new.values())


def _client(path: Path, file: WgQuickFile, server: PeerEntry) -> NewPeer:
    private_key = file.interface.private_key
    if private_key is None:
        raise InputError(f"{path}: key PrivateKey: it is missing, so nobody knows whose this is")
    name = peer_name(path.stem)
    if name is None:
        raise InputError(f"{path}: its name names no peer; call it NAME.conf")
    return NewPeer(
        name,
        private_key=private_key,
        public_key=private_key.public_key(),
        preshared_key=server.preshared_key or False,
        addresses=[address.ip for _, address in file.interface.addresses],
    )


def _peer(
    file: WgQuickFile,
    entry: PeerEntry,
    pools: Sequence[InterfaceAddress],
    taken: Container[str],
) -> NewPeer:
    place = f"{file.name}:{entry.line}: "
    try:
        peer = read_peer(entry, file.name, pools, taken, datetime.now(timezone.utc))
    except InputError as error:
        raise InputError(f"{place}{error}") from None
    if not peer.addresses:
        networks = ", ".join(str(pool.network) for pool in pools)
        raise InputError(
            f"{place}key AllowedIPs: none of them is an address in the server's {networks}; change "
            "interface.addresses, or import it into a server of its own"
        )
    return NewPeer(
        peer.name,
        public_key=peer.public_key,
        preshared_key=peer.preshared_key or False,
        addresses=peer.addresses,
        routed_networks=peer.routed_networks,
        groups=peer.groups,
        endpoint=peer.endpoint,
        persistent_keepalive=peer.persistent_keepalive,
        client=peer.client,
        description=peer.description,
        notes=peer.notes,
        expires_at=peer.expires_at,
        enabled=peer.enabled,
    )
