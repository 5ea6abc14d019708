"""The places that policies tell apart: each has an end that stands for all ends there."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from wgbind.firewall.decide import End
from wgbind.settings.prefixes import subtract
from wgbind.settings.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from wgbind.firewall.policy import Member, Policy
    from wgbind.net.way import Way
    from wgbind.settings.address import Address, Network
    from wgbind.settings.rule import Rule

    WayTo: TypeAlias = Callable[[Address], Way | None]

INTERNET: tuple[Address, ...] = (IPv4Address("1.1.1.1"), IPv6Address("2606:4700:4700::1111"))
"""What stands for the internet, where no rule says otherwise."""


@dataclass(frozen=True)
class Place:
    """Ends that a policy treats alike; `other` is a second one, for what they do with each other.

    Of peers it is another peer's; None if there is only one. Elsewhere it is None.
    """

    label: str
    end: End
    other: End | None = None


def places(way_to: WayTo, policies: Sequence[Policy], rules: Iterable[Rule]) -> list[Place]:
    """Return the places that the rules tell apart: elsewhere first, then peers, most first.

    `way_to` says where this host sends what is for an address. The peers are those of the first
    policy, the named networks those of all.
    """
    ends = {each for rule in rules for each in (*rule.sources, *rule.destinations)}
    literals = [each.prefix for each in ends if each.prefix and each.prefix.prefixlen > 0]
    names = _names(policies, sorted(literals, key=lambda prefix: (prefix.version, prefix)))
    inside = _inside(policies)
    return [
        *_host(policies[0]),
        *_named(names, inside, way_to),
        *_internet(policies, [*names, *inside]),
        *_peers(policies[0], ends, literals),
    ]


def _peers(
    policy: Policy, told: Collection[Reference], literals: Iterable[Network]
) -> Iterator[Place]:
    groups = {each.name for each in told if each.kind == "group"}
    names = {each.name for each in told if each.kind == "peer"}
    rest = "other peers" if groups or names else "peers"
    found: dict[tuple[str, int], dict[str, Address]] = {}
    for member in policy.members:
        label = "+".join(sorted(groups & member.groups)) or rest
        if member.name in names:
            label = f"peer:{member.name}"
        for address in _addresses(policy, member):
            within = [prefix for prefix in literals if address in prefix]
            inner = max(within, key=lambda prefix: prefix.prefixlen, default=None)
            place = label if inner is None else f"{label} in {inner}"
            found.setdefault((place, address.version), {}).setdefault(member.name, address)
    for (label, _), addresses in sorted(found.items(), key=lambda each: -len(each[1])):
        one, *more = (End("tunnel", address) for address in islice(addresses.values(), 2))
        yield Place(label, one, more[0] if more else None)


def _addresses(policy: Policy, member: Member) -> Iterator[Address]:
    """Return the peer's addresses, and one of each network behind it that is no other peer's."""
    yield from member.addresses
    for network in member.routed_networks:
        if policy.owner(_first(network)) is member:
            yield _first(network)
            continue
        others = (each for other in policy.members for each in other.routed_networks)
        inner = [each for each in others if each.prefixlen > network.prefixlen]
        for address in _candidates(network, inner):
            if policy.owner(address) is member:
                yield address
                break


def _host(policy: Policy) -> Iterator[Place]:
    for address in {own.version: own.ip for own in policy.addresses}.values():
        yield Place("host", End("host", address))


def _named(
    names: Mapping[Network, tuple[str, str | None]], inside: Sequence[Network], way_to: WayTo
) -> Iterator[Place]:
    """Return the places outside that have a name or stand in a rule themselves."""
    for prefix, (label, interface) in names.items():
        narrower = [each for each in names if each.prefixlen > prefix.prefixlen]
        ways = {each: way_to(each) for each in _candidates(prefix, [*narrower, *inside])}
        # A network's first address is often this host's own, which does not stand for the others.
        elsewhere = (each for each, way in ways.items() if way is None or not way.local)
        address = next(elsewhere, None)
        if address is not None:
            way = ways[address]
            by = "" if way is None else way.interface
            yield Place(label, End("outside", address, interface or by))
        elif ways:
            yield Place(label, End("host", next(iter(ways))))


def _internet(policies: Iterable[Policy], holes: Sequence[Network]) -> Iterator[Place]:
    interfaces = dict.fromkeys(name for policy in policies for name in policy.egress or ("",))
    for name in interfaces:
        label = f"internet by {name}" if len(interfaces) > 1 else "internet"
        for internet in INTERNET:
            everything = ip_network(f"{internet}/0", strict=False)
            address: Address | None = internet
            if any(internet in network for network in holes):
                address = next(_candidates(everything, holes), None)
            if address is not None:
                yield Place(label, End("outside", address, name))


def _names(
    policies: Iterable[Policy], literals: Iterable[Network]
) -> dict[Network, tuple[str, str | None]]:
    """Return the named networks' prefixes and those in rules: what each is called, and where."""
    found: dict[Network, tuple[str, str | None]] = {}
    for policy in policies:
        for name, network in policy.settings.networks.items():
            found |= dict.fromkeys(network.prefixes, (name, network.interface))
    for prefix in literals:
        found.setdefault(prefix, (str(Reference("prefix", prefix=prefix)), None))
    return found


def _inside(policies: Sequence[Policy]) -> list[Network]:
    """Return the networks where peers are, but for a default route by one of them."""
    tunnel = [own.network for policy in policies for own in policy.addresses]
    routed = [n for m in policies[0].members for n in m.routed_networks if n.prefixlen > 0]
    return tunnel + routed


def _candidates(prefix: Network, holes: Iterable[Network]) -> Iterator[Address]:
    """Return some addresses of the prefix that are in none of the holes."""
    for network in subtract([prefix], holes):
        first = _first(network)
        yield first
        if first + 1 in network:
            yield first + 1


def _first(network: Network) -> Address:
    """Return the first address that a host may have there."""
    return network[1] if network.num_addresses > 2 else network[0]
