"""Peers of whom others told WireGuard, by wg(8) or in a file of wg-quick(8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wgbind.store.occupancy import split
from wgbind.store.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from wgbind.keys import PresharedKey, PublicKey
    from wgbind.settings.address import InterfaceAddress, Network


class Told(Protocol):
    """What WireGuard itself knows of a peer, beside its allowed IPs."""

    @property
    def public_key(self) -> PublicKey:
        """Its key."""

    @property
    def preshared_key(self) -> PresharedKey | None:
        """The key that both mix in."""

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Where it is."""

    @property
    def persistent_keepalive(self) -> int:
        """Seconds; 0 is off."""


def new_peer(
    told: Told,
    allowed_ips: Iterable[Network],
    server: str,
    name: str,
    pools: Sequence[InterfaceAddress],
    now: datetime,
) -> Peer:
    """Make a peer of what was told.

    Args:
        told: What was told.
        allowed_ips: Its addresses where they are single ones in the tunnel's networks; else they
            are networks behind it.
        server: Whose peer it is.
        name: What it is called here.
        pools: The server's own addresses with their networks.
        now: When it is made, in UTC.
    """
    addresses, routed_networks = split(allowed_ips, pools)
    return Peer(
        server=server,
        name=name,
        public_key=told.public_key,
        preshared_key=told.preshared_key,
        addresses=addresses,
        routed_networks=routed_networks,
        groups=frozenset(),
        endpoint=told.endpoint,
        persistent_keepalive=told.persistent_keepalive,
        private_key=None,
        created_at=now,
    )
