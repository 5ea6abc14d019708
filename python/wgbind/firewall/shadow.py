"""Rules of which earlier ones, together, leave nothing to decide.

What a rule is about is taken apart into boxes: addresses that it is from, addresses that it is to,
and services. Addresses of both families are numbers on one line and services on another, so that
what earlier rules leave of a box is boxes again.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from wgbind.settings.prefixes import without
from wgbind.settings.reference import ZONES
from wgbind.settings.rule import CONCERNED
from wgbind.settings.service import PORT_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wgbind.firewall.policy import Policy
    from wgbind.settings.address import Network
    from wgbind.settings.prefixes import Ranges
    from wgbind.settings.reference import Reference, Zone
    from wgbind.settings.service import Service

_IPV6 = 1 << 32  # where its addresses begin, behind those of IPv4
_FAMILIES: tuple[Ranges, ...] = (((0, _IPV6 - 1),), ((_IPV6, _IPV6 + (1 << 128) - 1),))
_EVERYWHERE: Ranges = ((0, _IPV6 + (1 << 128) - 1),)

_ICMP = 2 * (PORT_MAX + 1)  # behind the ports of TCP and of UDP; then ping, and what has no name
_NAMED = {"icmp": (_ICMP, _ICMP + 1), "ping": (_ICMP + 1, _ICMP + 1), "any": (0, _ICMP + 2)}

MOST_RANGES = 200
"""A rule of which earlier ones leave more ranges than these is held to decide something."""


class _Box(NamedTuple):
    """Who begins with whom, of which services."""

    sources: Ranges
    destinations: Ranges
    services: Ranges

    def without(self, other: _Box) -> list[_Box]:
        """Return boxes of all that is in this one and not in the other."""
        if not all(map(_meet, self, other)):
            return [self]
        left = []
        box = self
        for name, holes in other._asdict().items():
            ranges = getattr(box, name)
            outside = tuple(without(ranges, holes))
            if outside:
                left.append(box._replace(**{name: outside}))
                box = box._replace(**{name: tuple(without(ranges, outside))})
        return left


class _Term:
    """A reference, as far as it matters here.

    Attributes:
        zones: Where what it means can be.
        addresses: Those that this can have.
        whole: Addresses at which it means all that is in those zones.
    """

    def __init__(self, policy: Policy, reference: Reference) -> None:
        self.zones = ZONES[reference.kind]
        self.addresses = _EVERYWHERE
        self.whole: Ranges = ()
        self._group = reference.name if reference.kind == "group" else None
        self._groups = frozenset[str]()
        networks = policy.settings.networks
        if reference.kind in {"any", "host", "peers"}:
            self.whole = _EVERYWHERE
        elif reference.prefix is not None:
            self.addresses = self.whole = _ranges([reference.prefix])
        elif reference.kind == "network":
            network = networks[reference.name]
            self.addresses = _ranges(network.prefixes)
            self.whole = self.addresses if network.interface is None else ()
        elif reference.kind == "internet" and policy.egress is None:
            named = _ranges(prefix for each in networks.values() for prefix in each.prefixes)
            self.addresses = self.whole = tuple(without(_EVERYWHERE, named))
        elif reference.kind == "peer":
            self._groups = self._groups.union(*(peer.groups for peer in policy.meant(reference)))

    def means(self, other: _Term, zone: Zone) -> Ranges:
        """Return addresses at which it means all that the other one does in that zone."""
        if zone not in self.zones:
            return ()
        if self is other or self._group in other._groups:
            return self.addresses
        return self.whole


class _Said(NamedTuple):
    """What a rule says of one source and one destination."""

    number: int
    source: _Term
    destination: _Term
    services: Ranges


def shadowed(policy: Policy) -> Iterator[tuple[int, list[int]]]:
    """Yield the operator's rules that never decide, each with those before it that do.

    They are counted from 0. A group is never all of its peers of today: others may join it.
    """
    rules = policy.settings.rules
    references = {each for rule in rules for each in (*rule.sources, *rule.destinations)}
    terms = {reference: _Term(policy, reference) for reference in references}
    earlier: list[_Said] = []
    for number, rule in enumerate(rules):
        services = tuple(sorted(map(_service, rule.services)))
        said = [
            _Said(number, terms[source], terms[destination], services)
            for source, destination in product(rule.sources, rule.destinations)
        ]
        deciding: set[int] = set()
        for each, zones in product(said, CONCERNED):
            found = _deciding(each, zones, earlier)
            if found is None:
                break
            deciding |= found
        else:
            if deciding:  # else nothing is such as it is about
                yield number, sorted(deciding)
        earlier += said


def _deciding(said: _Said, zones: tuple[Zone, Zone], earlier: Iterable[_Said]) -> set[int] | None:
    """Return what decides all that is said about two zones; None if something is left of it."""
    source, destination = said.source, said.destination
    left = []
    if zones[0] in source.zones and zones[1] in destination.zones:
        for family in _FAMILIES:
            box = _Box(
                _both(family, source.addresses), _both(family, destination.addresses), said.services
            )
            left += [box] if all(box) else []
    deciding: set[int] = set()
    for other in earlier if left else ():
        # Most have nothing to do with it, which shows soonest by what costs least to compare.
        if not (
            _meet(other.services, said.services)
            and _meet(sources := other.source.means(source, zones[0]), source.addresses)
            and _meet(
                destinations := other.destination.means(destination, zones[1]),
                destination.addresses,
            )
        ):
            continue
        taken = _Box(sources, destinations, other.services)
        rest = [each for box in left for each in box.without(taken)]
        if rest != left:
            deciding.add(other.number)
        left = rest
        if not left or sum(len(ranges) for box in left for ranges in box) > MOST_RANGES:
            break
    return None if left else deciding


def _ranges(networks: Iterable[Network]) -> Ranges:
    begins = {4: 0, 6: _IPV6}
    return tuple(
        sorted(
            (
                begins[each.version] + int(each.network_address),
                begins[each.version] + int(each.broadcast_address),
            )
            for each in networks
        )
    )


def _service(service: Service) -> tuple[int, int]:
    if service.protocol in _NAMED:
        return _NAMED[service.protocol]
    begin = 0 if service.protocol == "tcp" else PORT_MAX + 1
    return begin + service.first, begin + service.last


def _meet(ranges: Ranges, others: Ranges) -> bool:
    for first, last in ranges:
        for other_first, other_last in others:
            if first <= other_last and other_first <= last:
                return True
    return False


def _both(ranges: Ranges, others: Ranges) -> Ranges:
    return tuple(without(ranges, tuple(without(ranges, others))))
