"""Who has which addresses, in memory: for changes of so many peers that each look-up counts."""

from __future__ import annotations

from bisect import bisect_right, insort
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, TypeAlias

from wgbind.settings.address import reserved

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wgbind.settings.address import Address, InterfaceAddress, Network
    from wgbind.store.peer import Peer

_Range: TypeAlias = "tuple[int, int, str]"
"""First and last address, and the name of the peer."""


class Occupancy:
    """What peers have. Of two peers it never overlaps, but for default routes (see `ipam`).

    Args:
        peers: The peers of one server as the store has them.
    """

    def __init__(self, peers: Iterable[Peer] = ()) -> None:
        self._ranges: dict[int, list[_Range]] = {4: [], 6: []}
        self._defaults: dict[int, str] = {}
        for peer in peers:
            for network in peer.allowed_ips:
                if network.prefixlen == 0:
                    self._defaults[network.version] = peer.name
                else:
                    self._ranges[network.version].append(_range(network, peer.name))
        for ranges in self._ranges.values():
            ranges.sort()

    def fill(self, found: Iterable[tuple[int, bytes, int, str]]) -> None:
        """Take what many have: IP version, first address, length of the prefix, and whose it is."""
        for version, packed, length, name in found:
            if length == 0:
                self._defaults[version] = name
                continue
            first = int.from_bytes(packed, "big")
            last = first | (1 << 8 * len(packed) - length) - 1
            self._ranges[version].append((first, last, name))
        for ranges in self._ranges.values():
            ranges.sort()

    def overlap(self, network: Network) -> tuple[Network, str] | None:
        """Find what overlaps a network, and whose it is."""
        version, ranges = network.version, self._ranges[network.version]
        first, last, _ = _range(network, "")
        if network.prefixlen == 0:
            if version in self._defaults:
                return network, self._defaults[version]
            # The store knows networks by their first address.
            return _as_found(version, ranges[0]) if ranges and ranges[0][0] == 0 else None
        if first == 0 and version in self._defaults:
            return type(network)((0, 0)), self._defaults[version]
        # They are apart, so only the last that begins before the end can overlap it.
        place = bisect_right(ranges, last, key=lambda found: found[0])
        if place and ranges[place - 1][1] >= first:
            return _as_found(version, ranges[place - 1])
        return None

    def add(self, networks: Iterable[Network], name: str) -> None:
        """Give networks, which overlap nothing, to the peer `name`."""
        for network in networks:
            if network.prefixlen == 0:
                self._defaults[network.version] = name
            else:
                insort(self._ranges[network.version], _range(network, name))

    def discard(self, networks: Iterable[Network]) -> None:
        """Take networks away from whoever has them."""
        for network in networks:
            if network.prefixlen == 0:
                self._defaults.pop(network.version, None)
                continue
            ranges = self._ranges[network.version]
            first, last, _ = _range(network, "")
            place = bisect_right(ranges, first, key=lambda found: found[0])
            if place and ranges[place - 1][:2] == (first, last):
                del ranges[place - 1]


def overlapping(networks: Iterable[Network]) -> tuple[Network, Network] | None:
    """Find two of a peer's networks that overlap, default routes apart."""
    last: Network | None = None
    for network in sorted(networks, key=lambda each: (each.version, each)):
        if network.prefixlen == 0:
            continue
        # In their order, the wider of two that begin alike is the first.
        if last is not None and last.version == network.version and last.overlaps(network):
            return last, network
        last = network
    return None


def split(
    networks: Iterable[Network], pools: Sequence[InterfaceAddress]
) -> tuple[tuple[Address, ...], tuple[Network, ...]]:
    """Part allowed IPs into addresses in the tunnel's networks, and networks behind the peer."""
    taken = {pool.network: (reserved(pool.network), pool.ip) for pool in pools}
    addresses, routed = [], []
    for network in networks:
        address = network.network_address
        if network.prefixlen == network.max_prefixlen and any(
            address in pool and address not in none and address != own
            for pool, (none, own) in taken.items()
        ):
            addresses.append(address)
        else:
            routed.append(network)
    return tuple(addresses), tuple(routed)


def _range(network: Network, name: str) -> _Range:
    return int(network.network_address), int(network.broadcast_address), name


def _as_found(version: int, found: _Range) -> tuple[Network, str]:
    first, last, name = found
    kind: type[Network] = IPv4Network if version == 4 else IPv6Network
    return kind((first, (32 if version == 4 else 128) - (last - first).bit_length())), name
