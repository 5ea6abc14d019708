"""A section [Peer] of a file of wg-quick(8), as the peer that it and its comments say."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Annotated

from pydantic import StrictBool, ValidationError

from wgbind.errors import InputError
from wgbind.settings.address import Address, parse_address
from wgbind.settings.client import ClientOverrides
from wgbind.settings.mistake import explain
from wgbind.settings.reference import parse_peer_name
from wgbind.settings.section import Section, text
from wgbind.store.expiry import parse_expiry
from wgbind.store.peer import DESCRIPTION_LENGTH, normal
from wgbind.store.told import new_peer
from wgbind.wg_quick.comment import FIELD, read_comments, split_fields
from wgbind.wg_quick.friendly_name import free_name
from wgbind.wg_quick.layout import keep

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from wgbind.settings.address import InterfaceAddress
    from wgbind.store.peer import Peer
    from wgbind.wg_quick.file import PeerEntry


class _Said(Section):
    """What wgbind's own comments say, for which the section has no keys."""

    addresses: (
        tuple[Annotated[Address, text(parse_address, IPv4Address, IPv6Address)], ...] | None
    ) = None
    groups: tuple[str, ...] = ()
    name: Annotated[str, text(parse_peer_name)] | None = None
    client: ClientOverrides = ClientOverrides()
    description: str | None = None
    notes: str | None = None
    enabled: StrictBool | None = None
    expires_at: Annotated[str, text(str, datetime)] | None = None


def read_peer(
    entry: PeerEntry,
    server: str,
    pools: Sequence[InterfaceAddress],
    taken: Container[str],
    now: datetime,
) -> Peer:
    """Make a peer of its section.

    Args:
        entry: What the section says.
        server: Whose peer it is.
        pools: The server's own addresses with their networks.
        taken: Names that others have.
        now: When it is made, in UTC.

    Raises `InputError` for what is wrong in comments.
    """
    rest, fields = split_fields(entry.comments)
    try:
        said = _Said.model_validate(fields)
    except ValidationError as error:
        mistake = error.errors()[0]
        key = ".".join(map(str, mistake["loc"]))
        raise InputError(f"comment '{FIELD}{key}': {explain(mistake, _Said)}") from None
    comments = read_comments(rest)
    name = free_name(said.name or comments.name, entry.public_key, taken)
    described = "" if said.name is not None else description_of(comments.text, name)
    peer = new_peer(entry, entry.allowed_ips, server, name, pools, now)
    if said.addresses is not None:
        had = set(said.addresses)
        peer = replace(
            peer,
            addresses=tuple(
                n.network_address for n in entry.allowed_ips if n.network_address in had
            ),
            routed_networks=tuple(n for n in entry.allowed_ips if n.network_address not in had),
        )
    return normal(
        replace(
            peer,
            groups=frozenset(said.groups),
            client=said.client,
            description=described if said.description is None else said.description,
            enabled=entry.enabled if said.enabled is None else said.enabled,
            expires_at=None if said.expires_at is None else parse_expiry(said.expires_at, now),
            notes=comments.notes if said.notes is None else said.notes,
            layout=keep(entry.layout),
        )
    )


def description_of(name: str | None, taken: str) -> str:
    """Return a peer's description: the name as it stands there, where the peer's is another."""
    if name is None or name == taken or len(name) > DESCRIPTION_LENGTH or not name.isprintable():
        return ""
    return name
