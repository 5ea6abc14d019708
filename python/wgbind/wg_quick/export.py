"""A server as a file of wg-quick(8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wgbind.errors import InputError
from wgbind.settings.address import Endpoint
from wgbind.settings.client import ClientOverrides
from wgbind.settings.model import InterfaceSettings
from wgbind.settings.toml import literal
from wgbind.store.expiry import utc_text
from wgbind.store.occupancy import split
from wgbind.wg_quick.comment import FIELD, name_comment, read_comments, write_comments
from wgbind.wg_quick.file import HOOKS, WgQuickFile
from wgbind.wg_quick.friendly_name import find_name, free_name
from wgbind.wg_quick.layout import write
from wgbind.wg_quick.peer_section import description_of
from wgbind.wg_quick.text import DISABLED, switched_on

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from wgbind.keys import PrivateKey
    from wgbind.settings.model import ServerSettings
    from wgbind.store.peer import Peer
    from wgbind.wg_quick.file import InterfaceEntry, PeerEntry

HERE = ("interface", "store", "wg_quick")
"""Sections of the settings that keys of the file say, or that are this host's own."""

# What a key says, however it is written.
_INTERFACE: dict[str, Callable[[InterfaceEntry], object]] = {
    "Address": lambda entry: [address for _, address in entry.addresses],
    "ListenPort": lambda entry: entry.listen_port or 0,
    "FwMark": lambda entry: entry.fwmark,
    "MTU": lambda entry: entry.mtu,
    "DNS": lambda entry: entry.dns,
    "Table": lambda entry: entry.table,
    "SaveConfig": lambda entry: entry.save_config,
}
_PEER: dict[str, Callable[[PeerEntry], object]] = {
    "PublicKey": lambda entry: entry.public_key,
    "AllowedIPs": lambda entry: frozenset(entry.allowed_ips),
    "Endpoint": lambda entry: entry.endpoint,
    "PersistentKeepalive": lambda entry: entry.persistent_keepalive,
}
_KEYS = frozenset((*_INTERFACE, *HOOKS, *_PEER))


def export_text(
    settings: ServerSettings, private_key: PrivateKey, peers: Iterable[Peer], now: datetime
) -> str:
    """Write a server as a file of wg-quick(8), which holds its secrets.

    Its peers come in the order in which they were added. A section that comes from such a file is
    written as it stood there, but for what is new. What such a file has no key for stands in
    comments, which `importing` understands: settings, and of peers groups and the like. A peer that
    is not served at the moment `now` stands there with all its lines switched off. Private keys of
    clients and the place of the store are left out.
    """
    text = ""
    blocks = [_interface(settings, private_key)]
    taken: set[str] = set()
    for peer in sorted(peers, key=lambda each: each.created_at):
        blocks.append(_peer(settings, peer, now, taken))
        taken.add(peer.name)
    for block in blocks:
        apart = block.written_anew and bool(text) and not text.endswith("\n\n")
        text += "\n" * apart + "".join(f"{line}\n" for line in block.lines)
    return text


class _Block(NamedTuple):
    lines: list[str]
    written_anew: bool


def _interface(settings: ServerSettings, private_key: PrivateKey) -> _Block:
    values = _interface_values(settings, private_key)
    layout, fields = settings.wg_quick.layout, list(_settings_fields(settings))
    then = _read(layout, {"PrivateKey": values["PrivateKey"]})
    if then is None or not layout:
        lines = [f"{key} = {value}" for key, said in values.items() for value in said]
        return _Block(["[Interface]", *fields, *lines], True)
    mtu: int = InterfaceSettings.model_fields["mtu"].default
    if then.interface.mtu is None and settings.interface.mtu == mtu:
        del values["MTU"]
    now = _parse(["[Interface]"], values)
    unchanged = {
        key for key, says in _INTERFACE.items() if says(then.interface) == says(now.interface)
    }
    unchanged |= {key for key in HOOKS if _hooks(then, key) == _hooks(now, key)}
    return _Block(write(layout, values, unchanged, fields), False)


def _interface_values(settings: ServerSettings, private_key: PrivateKey) -> dict[str, list[str]]:
    """Return what the keys say."""
    interface, said = settings.interface, settings.wg_quick
    table = said.table if settings.routing.table == "main" else settings.routing.table
    return {
        "PrivateKey": [private_key.reveal()],
        "Address": [", ".join(map(str, interface.addresses))],
        "ListenPort": [str(interface.listen_port)] if interface.listen_port else [],
        "FwMark": [f"{interface.fwmark:#x}"] if interface.fwmark else [],
        "MTU": [str(interface.mtu)],
        "DNS": [", ".join(said.dns)] if said.dns else [],
        "Table": [] if table is None else [str(table)],
        "SaveConfig": [] if said.save_config is None else [str(said.save_config).lower()],
        **{key: list(hooks) for key, hooks in said.hooks.items()},
    }


def _settings_fields(settings: ServerSettings) -> Iterator[str]:
    for name, section in settings:
        if name in HERE:
            continue
        for key, field in type(section).model_fields.items():
            if (name, key) == ("routing", "table"):
                continue
            value = getattr(section, key)
            # Without its preset, a file would be one that others wrote.
            if (name, key) == ("policy", "preset") or value not in (None, field.default):
                yield from _field(f"{name}.{key}", value)


def _peer(settings: ServerSettings, peer: Peer, now: datetime, taken: Container[str]) -> _Block:
    served = peer.served(now)
    lines = _as_it_was(settings, peer, now, taken)
    if lines is not None:
        return _Block(lines if served else _switched_off(peer.layout, lines), False)
    said = write_comments(peer.name, peer.notes)
    fields = list(_peer_fields(settings, peer, now, peer.description or None))
    if said is None:
        fields += _field("notes", peer.notes)
        said = [], [name_comment(peer.name)], []
    before, within, behind = said
    keys = [f"{key} = {value}" for key, values in _peer_values(peer).items() for value in values]
    lines = [*before, "[Peer]", *fields, *within, *keys, *behind]
    return _Block(lines if served else [DISABLED + line for line in lines], True)


def _as_it_was(
    settings: ServerSettings, peer: Peer, now: datetime, taken: Container[str]
) -> list[str] | None:
    """Write a peer as it stood in a file; None if it has other notes now.

    Those before it have the names that are `taken`.
    """
    layout = [switched_on(line) for line in peer.layout]
    values = _peer_values(peer)
    then = _read(layout, {key: values[key] for key in ("PublicKey", "PresharedKey")})
    if then is None or len(then.peers) != 1:
        return None
    comments = read_comments(then.peers[0].comments)
    if comments.notes != peer.notes:
        return None
    fields: list[str] = []
    described = description_of(comments.text, peer.name)
    if free_name(comments.name, peer.public_key, taken) != peer.name:
        layout, fields = _renamed(layout, then.peers[0].comments, peer.name)
        described = ""
    said = None if described == peer.description else peer.description
    fields += _peer_fields(settings, peer, now, said)
    [old], [new] = then.peers, _parse(["[Peer]"], values).peers
    unchanged = {key for key, says in _PEER.items() if says(old) == says(new)}
    return write(layout, values, unchanged, fields)


def _renamed(layout: list[str], comments: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """Return the lines with another name, or as they are with that to add behind the header.

    Where the comment of another tool names the peer, which is among its notes, only a comment of
    wgbind's can say otherwise.
    """
    found = read_comments(comments)
    if found.text is None:
        return layout, [name_comment(name)]
    own, new = name_comment(found.text), name_comment(name)
    stripped = [line.strip() for line in layout]
    if own in stripped and find_name([new if each == own else each for each in comments]) == name:
        number = stripped.index(own)
        return [*layout[:number], new, *layout[number + 1 :]], []
    return layout, list(_field("name", name))


def _switched_off(layout: Sequence[str], lines: list[str]) -> list[str]:
    """Switch lines off by the mark that they had, and leave empty lines around them."""
    marks = [line[: len(line) - len(switched_on(line))] for line in layout]
    # Comments before the first mark and behind the last one stood there without.
    text = [bool(mark) for mark in marks] if any(marks) else [bool(line) for line in lines]
    first, behind = text.index(True), text[::-1].index(True)
    last = len(lines) - 1 - behind
    mark = next(filter(None, marks), DISABLED)
    return [
        f"{mark}{line}" if first <= number <= last else line for number, line in enumerate(lines)
    ]


def _peer_fields(
    settings: ServerSettings, peer: Peer, now: datetime, description: str | None
) -> Iterator[str]:
    if description is not None:
        yield from _field("description", description)
    if peer.groups:
        yield from _field("groups", sorted(peer.groups))
    if peer.expires_at is not None:
        yield from _field("expires_at", utc_text(peer.expires_at))
    if peer.enabled and not peer.served(now):
        yield from _field("enabled", value=True)
    if peer.client != ClientOverrides():
        yield from _field("client", peer.client)
    if split(peer.allowed_ips, settings.interface.addresses)[0] != peer.addresses:
        # The tunnel's networks changed after it got them.
        yield from _field("addresses", peer.addresses)


def _peer_values(peer: Peer) -> dict[str, list[str]]:
    """Return what the keys say."""
    preshared_key, allowed_ips = peer.preshared_key, ", ".join(map(str, peer.allowed_ips))
    return {
        "PublicKey": [str(peer.public_key)],
        "PresharedKey": [] if preshared_key is None else [preshared_key.reveal()],
        "AllowedIPs": [allowed_ips] if allowed_ips else [],
        "Endpoint": [] if peer.endpoint is None else [str(Endpoint(*peer.endpoint))],
        "PersistentKeepalive": [str(peer.persistent_keepalive)] * bool(peer.persistent_keepalive),
    }


def _read(layout: Iterable[str], values: Mapping[str, Sequence[str]]) -> WgQuickFile | None:
    """Read a section with these values in it; None if that is none: somebody changed it by hand."""
    try:
        return _parse(layout, values)
    except InputError:
        return None


def _parse(layout: Iterable[str], values: Mapping[str, Sequence[str]]) -> WgQuickFile:
    return WgQuickFile.parse("\n".join(write(layout, values, _KEYS)))


def _hooks(file: WgQuickFile, key: str) -> list[str]:
    return [command for _, command in file.interface.hooks.get(key, ())]


def _field(key: str, value: object) -> Iterator[str]:
    for line in f"{key} = {literal(value)}".split("\n"):
        yield FIELD + line
