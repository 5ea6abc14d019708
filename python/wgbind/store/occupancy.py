"""Who has which prefix, in memory: for changes of so many peers that each look-up counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wgbind.settings.address import reserved

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wgbind.settings.address import Address, InterfaceAddress, Network
    from wgbind.store.peer import Peer


class Occupancy:
    """What peers have. One that is within another's is a prefix of its own.

    Args:
        peers: The peers of one server as the store has them.
    """

    def __init__(self, peers: Iterable[Peer] = ()) -> None:
        # By IP version, first address and length: to hash a network takes longer.
        self._names: dict[tuple[int, int, int], str] = {}
        for peer in peers:
            self.add(peer.allowed_ips, peer.name)

    def fill(self, found: Iterable[tuple[int, bytes, int, str]]) -> None:
        """Take what many have: IP version, first address, length of the prefix, and whose it is."""
        for version, packed, length, name in found:
            self._names[version, int.from_bytes(packed, "big"), length] = name

    def holder(self, network: Network) -> str | None:
        """Find who has exactly this prefix."""
        return self._names.get(_key(network))

    def add(self, networks: Iterable[Network], name: str) -> None:
        """Give networks, which nobody has, to the peer `name`."""
        for network in networks:
            self._names[_key(network)] = name

    def discard(self, networks: Iterable[Network]) -> None:
        """Take networks away from whoever has them."""
        for network in networks:
            self._names.pop(_key(network), None)


def split(
    networks: Iterable[Network], pools: Sequence[InterfaceAddress]
) -> tuple[tuple[Address, ...], tuple[Network, ...]]:
    """Part allowed IPs into addresses in the tunnel's networks, and networks behind the peer."""
    taken = {pool.network: reserved(pool.network) for pool in pools}
    own = {pool.ip for pool in pools}
    addresses, routed = [], []
    for network in networks:
        address = network.network_address
        if network.prefixlen == network.max_prefixlen and any(
            address in pool and address not in none and address not in own
            for pool, none in taken.items()
        ):
            addresses.append(address)
        else:
            routed.append(network)
    return tuple(addresses), tuple(routed)


def _key(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen
