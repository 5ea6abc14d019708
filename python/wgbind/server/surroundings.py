"""Networks behind peers that are around the tunnel's own, as the device is told them; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wgbind.settings.prefixes import subtract

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wgbind.settings.address import Network
    from wgbind.store.peer import Peer


class Surroundings:
    """What is around the tunnel's networks, such as default routes, leaves them out.

    An address there that no peer has would else be that of who is the way to all else: to receive
    and to send from. The device has no word for "all but these", so it gets such a network in
    pieces. Those have longer prefixes than the network itself, so they leave out as well what
    another peer has of it.

    Args:
        own: The tunnel's own networks.
        peers: Those that the device has.
    """

    def __init__(self, own: Iterable[Network], peers: Iterable[Peer]) -> None:
        own = tuple(own)
        self._own = tuple(each for each in own if not any(_is_within(each, other) for other in own))
        behind = frozenset(network for peer in peers for network in peer.routed_networks)
        self._wide = tuple(network for network in behind if self._holds_own(network))
        self._behind = behind

    def given(self, peer: Peer) -> Peer:
        """Return a peer as the device is told it; the same one if that makes no difference."""
        if not any(map(self._holds_own, peer.routed_networks)):
            return peer
        networks = [
            part
            for network in peer.routed_networks
            for part in (self._pieces(network) if self._holds_own(network) else (network,))
        ]
        return replace(peer, routed_networks=tuple(networks))

    def whole(self, has: frozenset[Network], networks: Iterable[Network]) -> frozenset[Network]:
        """Put together those of a peer's `networks` that it has on the device in pieces."""
        for network in filter(self._holds_own, networks):
            pieces = self._pieces(network)
            if has >= pieces:
                has = has - pieces | {network}
        return has

    def _pieces(self, network: Network) -> frozenset[Network]:
        wider = (each for each in self._wide if _is_within(each, network))
        return frozenset(subtract([network], (*self._own, *wider))) - self._behind

    def _holds_own(self, network: Network) -> bool:
        return any(_is_within(each, network) for each in self._own)


def _is_within(network: Network, other: Network) -> bool:
    """Whether a network is a part of another one, and not all of it."""
    return (
        network.version == other.version
        and network.prefixlen > other.prefixlen
        and network.overlaps(other)
    )
