"""A server as a file of wg-quick(8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wgbind.settings.address import Endpoint
from wgbind.settings.client import ClientOverrides
from wgbind.settings.toml import literal
from wgbind.store.expiry import utc_text
from wgbind.store.occupancy import split
from wgbind.wg_quick.comment import FIELD, name_comment, write_comments
from wgbind.wg_quick.text import DISABLED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from wgbind.keys import PrivateKey
    from wgbind.settings.model import ServerSettings
    from wgbind.store.peer import Peer

HERE = ("interface", "store", "wg_quick")
"""Sections of the settings that keys of the file say, or that are this host's own."""


def export_text(
    settings: ServerSettings, private_key: PrivateKey, peers: Iterable[Peer], now: datetime
) -> str:
    """Write a server as a file of wg-quick(8), which holds its secrets.

    What such a file has no key for stands in comments, which `importing` understands: settings, and
    of peers groups and the like. A peer that is not served at the moment `now` stands there with
    all its lines switched off. Private keys of clients and the place of the store are left out.
    """
    blocks = [_interface(settings, private_key)]
    blocks += [_peer(settings, peer, now) for peer in peers]
    return "\n".join("".join(f"{line}\n" for line in block) for block in blocks)


def _interface(settings: ServerSettings, private_key: PrivateKey) -> list[str]:
    interface, said = settings.interface, settings.wg_quick
    lines = ["[Interface]", *said.comments, *_settings_fields(settings)]
    lines.append(f"PrivateKey = {private_key.reveal()}")
    lines.append(f"Address = {', '.join(map(str, interface.addresses))}")
    if interface.listen_port:
        lines.append(f"ListenPort = {interface.listen_port}")
    if interface.fwmark:
        lines.append(f"FwMark = {interface.fwmark:#x}")
    lines.append(f"MTU = {interface.mtu}")
    if said.dns:
        lines.append(f"DNS = {', '.join(said.dns)}")
    table = said.table if settings.routing.table == "main" else settings.routing.table
    if table is not None:
        lines.append(f"Table = {table}")
    if said.save_config is not None:
        lines.append(f"SaveConfig = {str(said.save_config).lower()}")
    lines += [f"{key} = {command}" for key, hooks in said.hooks.items() for command in hooks]
    return lines


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


def _peer(settings: ServerSettings, peer: Peer, now: datetime) -> list[str]:
    said = write_comments(peer.name, peer.notes)
    fields: list[str] = []
    if peer.description:
        fields += _field("description", peer.description)
    if peer.groups:
        fields += _field("groups", sorted(peer.groups))
    if peer.expires_at is not None:
        fields += _field("expires_at", utc_text(peer.expires_at))
    if peer.enabled and not peer.served(now):
        fields += _field("enabled", value=True)
    if peer.client != ClientOverrides():
        fields += _field("client", peer.client)
    if said is None:
        fields += _field("notes", peer.notes)
        said = [], [name_comment(peer.name)], []
    if split(peer.allowed_ips, settings.interface.addresses)[0] != peer.addresses:
        # The tunnel's networks changed after it got them.
        fields += _field("addresses", peer.addresses)
    before, within, behind = said
    lines = [*before, "[Peer]", *within, *fields, *_keys(peer), *behind]
    return lines if peer.served(now) else [DISABLED + line for line in lines]


def _keys(peer: Peer) -> Iterator[str]:
    yield f"PublicKey = {peer.public_key}"
    if peer.preshared_key is not None:
        yield f"PresharedKey = {peer.preshared_key.reveal()}"
    if peer.allowed_ips:
        yield f"AllowedIPs = {', '.join(map(str, peer.allowed_ips))}"
    if peer.endpoint is not None:
        yield f"Endpoint = {Endpoint(*peer.endpoint)}"
    if peer.persistent_keepalive:
        yield f"PersistentKeepalive = {peer.persistent_keepalive}"


def _field(key: str, value: object) -> Iterator[str]:
    for line in f"{key} = {literal(value)}".split("\n"):
        yield FIELD + line
