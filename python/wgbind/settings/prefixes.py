"""Sets of addresses as prefixes: WireGuard has a word for "these", and none for "all but these"."""

from __future__ import annotations

from collections import defaultdict
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wgbind.settings.address import Address, Network

Range: TypeAlias = tuple[int, int]
"""First and last of numbers side by side."""

Ranges: TypeAlias = tuple[Range, ...]
"""Ranges in order, which have nothing in common."""

_FAMILIES = (IPv4Address, IPv6Address)


def subtract(networks: Iterable[Network], holes: Iterable[Network]) -> tuple[Network, ...]:
    """Return the prefixes of exactly the addresses of `networks` that are in none of `holes`.

    No fewer prefixes have those addresses. IPv4 comes first, and each family in its order.
    """
    networks, holes = tuple(networks), tuple(holes)
    return tuple(
        prefix
        for family in _FAMILIES
        for first, last in without(_ranges(networks, family), _ranges(holes, family))
        for prefix in summarize_address_range(family(first), family(last))
    )


class Nest:
    """Prefixes, to find those around others."""

    def __init__(self, networks: Iterable[Network]) -> None:
        lengths: defaultdict[tuple[int, int], dict[int, Network]] = defaultdict(dict)
        for network in networks:
            lengths[network.version, network.prefixlen][_bits(network, network.prefixlen)] = network
        self._lengths = dict(sorted(lengths.items(), reverse=True))

    def __bool__(self) -> bool:
        return bool(self._lengths)

    def around(self, network: Network) -> Iterator[Network]:
        """Yield those of which a network is a part, and not all, the longest prefix first."""
        for (version, length), networks in self._lengths.items():
            if version == network.version and length < network.prefixlen:
                found = networks.get(_bits(network, length))
                if found is not None:
                    yield found


def _bits(network: Network, length: int) -> int:
    return int(network.network_address) >> (network.max_prefixlen - length)


def _ranges(networks: Iterable[Network], family: type[Address]) -> list[Range]:
    """The first and last addresses of the networks' union: in order, and never side by side."""
    found: list[Range] = []
    for first, last in sorted(
        (int(network.network_address), int(network.broadcast_address))
        for network in networks
        if isinstance(network.network_address, family)
    ):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def without(ranges: Iterable[Range], holes: Sequence[Range]) -> Iterator[Range]:
    """Yield what is in the ranges and in none of the holes; both, and that, are in order."""
    for begin, end in ranges:
        first = begin
        for hole_first, hole_last in holes:
            if hole_last < first:
                continue
            if hole_first > end:
                break
            if hole_first > first:
                yield first, hole_first - 1
            first = hole_last + 1
        if first <= end:
            yield first, end
