"""Which addresses are of which peers and groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from wgbind.firewall.expression import Version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from wgbind.firewall.policy import Member, Policy
    from wgbind.firewall.table import Range
    from wgbind.settings.address import Network

Name: TypeAlias = tuple[str, str]
"""The kind of a reference, "group" or "peer", and its name."""

Whose: TypeAlias = tuple[str, str, Version]
"""A `Name` and an IP version."""

VERSIONS: tuple[Version, Version] = (4, 6)

_Prefix: TypeAlias = "tuple[int, int, Member | None]"
"""The first and last address, and who has them."""


@dataclass(frozen=True)
class Population:
    """The peers' addresses.

    Attributes:
        addresses: The single addresses, packed, for each group and peer that was asked for.
        ranges: What they have by networks behind peers, likewise; the longest prefix wins.
        everyone: All single addresses.
        sources: Where packets from the tunnel can come from: its networks, those behind peers.
        routed: Whether there are networks behind peers.
    """

    addresses: Mapping[Whose, frozenset[bytes]]
    ranges: Mapping[Whose, tuple[Range, ...]]
    everyone: frozenset[bytes]
    sources: Mapping[Version, tuple[Range, ...]]
    routed: bool

    @classmethod
    def of(cls, policy: Policy, named: frozenset[Name]) -> Population:
        """Count the peers of a policy; `named` are the groups and peers that its rules name."""
        groups, peers = _by_kind(named)
        found: dict[Whose, list[bytes]] = {
            (kind, name, version): [] for kind, name in named for version in VERSIONS
        }
        everyone: list[bytes] = []
        networks: list[Network] = []
        for member in policy.members:
            packed = [address.packed for address in member.addresses]
            everyone += packed
            networks += member.routed_networks
            for kind, name in _names(member, groups, peers):
                for address in packed:
                    found[kind, name, 4 if len(address) == 4 else 6].append(address)
        own = [address.network for address in policy.addresses]
        return cls(
            {whose: frozenset(each) for whose, each in found.items()},
            _routed(policy, everyone, groups, peers) if networks else {},
            frozenset(everyone),
            {version: union([*own, *networks], version) for version in VERSIONS},
            bool(networks),
        )

    @property
    def named(self) -> frozenset[Name]:
        """The groups and peers that were asked for."""
        return frozenset((kind, name) for kind, name, _ in self.addresses)

    def after(self, gone: Collection[Member], come: Collection[Member]) -> Population:
        """Return the population after some peers went and others came.

        Only if nobody has networks behind him, before or after: with each address what is cut out
        of those would change, too.
        """
        groups, peers = _by_kind(self.named)
        everyone = set(self.everyone)
        changed: dict[Whose, set[bytes]] = {}
        for members, change in ((gone, set.discard), (come, set.add)):
            for member in members:
                names = list(_names(member, groups, peers))
                for address in (each.packed for each in member.addresses):
                    change(everyone, address)
                    for kind, name in names:
                        whose: Whose = (kind, name, 4 if len(address) == 4 else 6)
                        if whose not in changed:
                            changed[whose] = set(self.addresses[whose])
                        change(changed[whose], address)
        found = {whose: frozenset(each) for whose, each in changed.items()}
        addresses = {**self.addresses, **found}
        return replace(self, addresses=addresses, everyone=frozenset(everyone))


def _by_kind(named: Iterable[Name]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of groups and those of peers."""
    named = frozenset(named)
    groups = frozenset(name for kind, name in named if kind == "group")
    return groups, frozenset(name for kind, name in named if kind == "peer")


def _names(member: Member, groups: frozenset[str], peers: frozenset[str]) -> Iterator[Name]:
    for group in member.groups & groups:
        yield "group", group
    if member.name in peers:
        yield "peer", member.name


def _routed(
    policy: Policy, everyone: Collection[bytes], groups: frozenset[str], peers: frozenset[str]
) -> dict[Whose, tuple[Range, ...]]:
    found: dict[Whose, list[Range]] = {}
    for version in VERSIONS:
        for first, last, member in flatten(_prefixes(policy, everyone, version)):
            for name in () if member is None else _names(member, groups, peers):
                found.setdefault((*name, version), []).append((first, last))
    return {whose: merge(ranges) for whose, ranges in found.items()}


def _prefixes(policy: Policy, everyone: Iterable[bytes], version: Version) -> Iterator[_Prefix]:
    """Yield the networks behind peers, and as nobody's what is cut out of them.

    That is the tunnel's networks, and single addresses, of whomever, which are held apart.
    """
    own = [each for each in policy.addresses if each.version == version]
    inside = [_ends(each.network) for each in own]
    for address, (first, last) in zip(own, inside, strict=True):
        yield first, last, None
        yield int(address.ip), int(address.ip), None
    for member in policy.members:
        for network in member.routed_networks:
            if network.version == version:
                first, last = _ends(network)
                yield first, last, member
                if any(begin <= first <= last <= end for begin, end in inside):
                    inside = []
    length = 4 if version == 4 else 16
    single = [each for each in everyone if len(each) == length]
    # What the tunnel's networks cut out needs no hole of its own, unless it is cut in again.
    for begin, end in inside:
        lowest, highest = begin.to_bytes(length, "big"), end.to_bytes(length, "big")
        single = [each for each in single if not lowest <= each <= highest]
    for each in single:
        number = int.from_bytes(each, "big")
        yield number, number, None


def flatten(prefixes: Iterable[_Prefix]) -> Iterator[_Prefix]:
    """Cut prefixes into ranges in order, each of which one alone has: that of the longest prefix.

    Prefixes contain each other or are apart, as brackets.
    """
    around: list[_Prefix] = []
    begin = 0
    for prefix in sorted(prefixes, key=lambda prefix: (prefix[0], -prefix[1])):
        while around and around[-1][1] < prefix[0]:
            yield from _piece(begin, around[-1])
            begin = around.pop()[1] + 1
        if around:
            yield from _piece(begin, (around[-1][0], prefix[0] - 1, around[-1][2]))
        begin = prefix[0]
        around.append(prefix)
    while around:
        yield from _piece(begin, around[-1])
        begin = around.pop()[1] + 1


def _piece(begin: int, prefix: _Prefix) -> Iterator[_Prefix]:
    if begin <= prefix[1]:
        yield begin, prefix[1], prefix[2]


def merge(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Join ranges that come in order, where they overlap or touch."""
    merged: list[Range] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def union(networks: Iterable[Network], version: Version) -> tuple[Range, ...]:
    """Return the ranges of the networks of one version."""
    return merge(sorted(_ends(network) for network in networks if network.version == version))


def _ends(network: Network) -> Range:
    return int(network.network_address), int(network.broadcast_address)
