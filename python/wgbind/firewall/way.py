"""The policy's rules on one way through this host, as chains.

A packet looks at the rules in order, and skips those in a row that are about other sources at once:
they are in a chain of their own. How many it meets depends on the rules and not on the peers, whose
addresses are in sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from wgbind.firewall import expression
from wgbind.firewall.expression import ACCEPT, DROP, ECHO_REQUEST, ICMP, TCP, UDP, version_of
from wgbind.firewall.frame import counter_name
from wgbind.firewall.population import VERSIONS, merge, union
from wgbind.firewall.table import KeyType, Rule, Set

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wgbind.firewall.expression import Expression, Side, Version
    from wgbind.firewall.frame import Builder, Frame
    from wgbind.settings.reference import Reference, Zone
    from wgbind.settings.rule import Rule as PolicyRule
    from wgbind.settings.service import Service

_LOGGED_A_SECOND = 10
ADDRESS_KEY = {4: KeyType.IPV4, 6: KeyType.IPV6}


class Match(NamedTuple):
    """One of several ways to match; a version if it holds for one alone."""

    version: Version | None
    expressions: Expression

    def __and__(self, other: Match) -> Match | None:
        """Return what matches both; None if nothing can."""
        if None not in {self.version, other.version} and self.version != other.version:
            return None
        return Match(self.version or other.version, self.expressions + other.expressions)

    @property
    def whole(self) -> Expression:
        """The expressions with the match of the version that they need."""
        if self.version is None:
            return self.expressions
        return expression.family(self.version) + self.expressions


EVERYTHING = Match(None, b"")


@dataclass(frozen=True)
class Way:
    """The rules between two zones, on their way into chains."""

    frame: Frame
    builder: Builder
    name: str
    source: Zone
    destination: Zone

    def chain(self) -> str:
        """Build the chains and return the name of the first; it leaves what no rule matches."""
        return self.builder.chain(self.name, self._rules())

    def _rules(self) -> Iterator[Rule]:
        rules = ((self._ends(self.source, "source", rule), rule) for rule in self.frame.rules)
        for sources, block in groupby(rules, key=lambda pair: pair[0]):
            lines = [line for _, rule in block for line in self._lines(rule)]
            for source in sources:
                yield from self._block(source, lines)

    def _block(self, source: Match, lines: list[tuple[Match, str]]) -> Iterator[Rule]:
        """Put what may follow a source behind it."""
        possible = [(line, text) for line, text in lines if source & line is not None]
        if source.expressions and len(possible) > 1:
            rules = (Rule(line.whole, text) for line, text in possible)
            yield Rule(source.whole + expression.jump(self.builder.chain(self.name, rules)))
            return
        for line, text in possible:
            joined = source & line
            if joined is not None:
                yield Rule(joined.whole, text)

    def _lines(self, rule: PolicyRule) -> Iterator[tuple[Match, str]]:
        """Yield destination, service and verdict of a rule in all combinations."""
        destinations = self._ends(self.destination, "destination", rule)
        if not destinations:
            return
        verdict = Match(None, self._verdict(rule))
        services = list(self._services(rule.services))
        for destination in destinations:
            for service in services:
                joined = destination & service
                line = None if joined is None else joined & verdict
                if line is not None:
                    yield line, str(rule)

    def _verdict(self, rule: PolicyRule) -> Expression:
        count = self.builder.counter(counter_name(rule))
        decision = count + (ACCEPT if rule.action == "allow" else DROP)
        if not rule.log:
            return decision
        prefix = f"wgbind {self.frame.interface} {rule.action} "
        logged = (Rule(expression.log(prefix, _LOGGED_A_SECOND)), Rule(decision, str(rule)))
        return expression.goto(self.builder.chain("log", logged))

    def _ends(self, zone: Zone, side: Side, rule: PolicyRule) -> tuple[Match, ...]:
        references = rule.sources if side == "source" else rule.destinations
        return tuple(
            match for reference in references for match in self._end(reference, zone, side)
        )

    def _end(self, reference: Reference, zone: Zone, side: Side) -> Iterator[Match]:
        match reference.kind, zone:
            case ("any", _) | ("host", "host") | ("peers", "tunnel"):
                yield EVERYTHING
            case "prefix", _ if reference.prefix is not None:
                version = version_of(reference.prefix)
                yield Match(version, expression.address(side, reference.prefix))
            case (("group" | "peer"), "tunnel"):
                for version in VERSIONS:
                    names = self.frame.members.get((reference.kind, reference.name, version), ())
                    for name in names:
                        yield Match(version, expression.address_in(side, version, name))
            case "network", "outside":
                yield from network(self.frame, self.builder, reference.name, side)
            case "internet", "outside":
                yield from self._internet(side)

    def _internet(self, side: Side) -> Iterator[Match]:
        egress = by_egress(self.frame, self.builder, side)
        if egress is None:
            return
        prefixes = [
            prefix for each in self.frame.settings.networks.values() for prefix in each.prefixes
        ]
        if not prefixes:
            yield Match(None, egress)
            return
        for version in VERSIONS:
            ranges = union(prefixes, version)
            if ranges:
                name = self.builder.constant(
                    f"networks/{version}", Set(ADDRESS_KEY[version], ranges=ranges)
                )
                elsewhere = expression.address_in(side, version, name, inverted=True)
                yield Match(version, egress + elsewhere)
            else:
                yield Match(version, egress)

    def _services(self, services: tuple[Service, ...]) -> Iterator[Match]:
        if any(service.protocol == "any" for service in services):
            yield EVERYTHING
            return
        for name, protocol in (("tcp", TCP), ("udp", UDP)):
            ranges = [(each.first, each.last) for each in services if each.protocol == name]
            if ranges:
                yield Match(None, expression.protocol(protocol) + self._ports(ranges))
        named = {service.protocol for service in services}
        for version in VERSIONS:
            if "icmp" in named:
                yield Match(version, expression.protocol(ICMP[version]))
            elif "ping" in named:
                ping = expression.icmp_type(ECHO_REQUEST[version])
                yield Match(version, expression.protocol(ICMP[version]) + ping)

    def _ports(self, ranges: list[tuple[int, int]]) -> Expression:
        merged = merge(sorted(ranges))
        if merged == ((0, 65535),):
            return b""
        if len(merged) == 1:
            return expression.destination_port(*merged[0])
        return expression.destination_port_in(
            self.builder.constant("ports", Set(KeyType.PORT, ranges=merged))
        )


def by_egress(frame: Frame, builder: Builder, side: Side) -> Expression | None:
    """Match the interfaces to the internet, of what is outside already; None if there are none."""
    if frame.egress is None:
        return b""
    if not frame.egress:
        return None
    return by_interface(frame.egress, builder, side)


def by_interface(names: tuple[str, ...], builder: Builder, side: Side) -> Expression:
    """Match one of several interfaces."""
    if len(set(names)) == 1:
        return expression.interface(side, names[0])
    keys = frozenset(name.encode().ljust(KeyType.INTERFACE.value[1], b"\0") for name in names)
    constant = builder.constant("interfaces", Set(KeyType.INTERFACE, keys))
    return expression.interface_in(side, constant)


def network(frame: Frame, builder: Builder, name: str, side: Side) -> Iterator[Match]:
    """Match a named network, of what is outside already."""
    settings = frame.settings.networks[name]
    by = b"" if settings.interface is None else expression.interface(side, settings.interface)
    for version in VERSIONS:
        ranges = union(settings.prefixes, version)
        if ranges:
            constant = builder.constant(
                f"{name}/{version}", Set(ADDRESS_KEY[version], ranges=ranges)
            )
            yield Match(version, by + expression.address_in(side, version, constant))
