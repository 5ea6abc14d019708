"""The base chains of a table: what holds before, after and whatever the policy says.

    prerouting   what comes from the tunnel has an address that a peer can have
    ways         what leaves by a way of its own is marked
    forwards     calls of forwarded ports go where they lead
    input        what the tunnel may reach on this host itself
    forward      peer to peer, peers to other networks and other networks to peers
    output       what this host may begin with peers; no redirects into the tunnel
    postrouting  peers appear in other networks with this host's address

Packets that neither come from the tunnel nor go to it pass each chain at its first rule. An
accepted packet has still to pass the host's other tables.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from wgbind.firewall import expression
from wgbind.firewall.expression import ACCEPT, CLAMP_MSS, DROP, ICMP, REDIRECT, State
from wgbind.firewall.forwards import admissions, masquerades, translations
from wgbind.firewall.mark import arrivals, ways
from wgbind.firewall.population import VERSIONS
from wgbind.firewall.table import (
    FORWARD,
    INPUT,
    OUTPUT,
    POSTROUTING,
    PREROUTING,
    Hook,
    Rule,
    Set,
)
from wgbind.firewall.way import ADDRESS_KEY, Way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wgbind.firewall.expression import Expression
    from wgbind.firewall.frame import Builder, Frame
    from wgbind.settings.reference import Zone

RAW, MANGLE, DSTNAT, FILTER, SRCNAT = -300, -150, -100, 0, 100
"""Priorities (nft(8), "Standard priority names"); connection tracking is between raw and mangle."""

_MEMORY_SECONDS = 10
"""How long the limit of new connections remembers an address that begins none."""

KNOWN = Rule(expression.ct_state(State.ESTABLISHED | State.RELATED) + ACCEPT)
"""Answers, and what else belongs to a connection that a rule allowed, need no rule."""


def build(frame: Frame, builder: Builder) -> None:
    """Build all base chains, and with them the others."""
    chains = _Base(frame, builder)
    builder.base("prerouting", Hook("filter", PREROUTING, RAW), chains.prerouting())
    builder.base("ways", Hook("filter", PREROUTING, MANGLE), ways(frame))
    builder.base("forwards", Hook("nat", PREROUTING, DSTNAT), translations(frame, builder))
    builder.base("input", Hook("filter", INPUT, FILTER), chains.input())
    builder.base("forward", Hook("filter", FORWARD, FILTER), chains.forward())
    builder.base("output", Hook("filter", OUTPUT, FILTER), chains.output())
    builder.base("postrouting", Hook("nat", POSTROUTING, SRCNAT), masquerades(frame, builder))


class _Base:
    def __init__(self, frame: Frame, builder: Builder) -> None:
        self._frame = frame
        self._builder = builder
        self._from_tunnel = expression.interface("source", frame.interface)
        self._to_tunnel = expression.interface("destination", frame.interface)
        self._not_from_tunnel = expression.interface("source", frame.interface, equal=False)
        self._not_to_tunnel = expression.interface("destination", frame.interface, equal=False)

    def prerouting(self) -> Iterator[Rule]:
        """Drop the sources that no peer has: a second line behind cryptokey routing."""
        yield Rule(self._not_from_tunnel + ACCEPT)
        yield from self._spoofed()

    def _spoofed(self, match: Expression = b"") -> Iterator[Rule]:
        """Drop, of what matches, the sources that no peer has.

        The chains that decide do so once more about what begins: a packet that passes prerouting
        before the rules change and comes to them afterwards would meet a source of the old policy
        and the permissions of the new one, and be let through by neither alone.
        """
        drop = self._drop("spoofed")
        for own in self._frame.addresses:
            address = expression.address("source", ip_network(own.ip))
            yield Rule(match + expression.family(expression.version_of(own.ip)) + address + drop)
        for version in VERSIONS:
            others = b""
            if version in self._frame.sources:
                name = self._frame.sources[version]
                others = expression.address_in("source", version, name, inverted=True)
            yield Rule(match + expression.family(version) + others + drop)

    def input(self) -> Iterator[Rule]:
        yield Rule(self._not_from_tunnel + ACCEPT)
        yield KNOWN
        yield Rule(expression.ct_state(State.INVALID) + self._drop("invalid"))
        yield from self._spoofed()
        yield from self._limit()
        yield from self._way("to_host", "tunnel", "host")

    def forward(self) -> Iterator[Rule]:
        yield Rule(self._not_from_tunnel + self._not_to_tunnel + ACCEPT)
        yield Rule(CLAMP_MSS)
        yield KNOWN
        # What conntrack calls invalid would leave without NAT, with the peer's own address.
        stateless = expression.ct_state_not(State.ESTABLISHED | State.RELATED | State.NEW)
        yield Rule(self._from_tunnel + stateless + self._drop("invalid"))
        yield from self._spoofed(self._from_tunnel)
        yield from self._limit()
        yield from arrivals(self._frame)
        yield from admissions(self._frame, self._builder)
        both = self._from_tunnel + self._to_tunnel
        yield from self._way("to_peers", "tunnel", "tunnel", both)
        yield from self._way("to_networks", "tunnel", "outside", self._from_tunnel)
        yield from self._way("from_networks", "outside", "tunnel")

    def output(self) -> Iterator[Rule]:
        yield Rule(self._not_to_tunnel + ACCEPT)
        # A packet that goes back where it came from could have gone directly, thinks the kernel;
        # for its own WireGuard it was taught otherwise (drivers/net/wireguard/device.c, wg_open).
        for version in VERSIONS:
            redirect = expression.protocol(ICMP[version]) + expression.icmp_type(REDIRECT[version])
            yield Rule(expression.family(version) + redirect + DROP)
        yield KNOWN
        yield from self._way("from_host", "host", "tunnel")

    def _way(
        self, name: str, source: Zone, destination: Zone, match: Expression = b""
    ) -> Iterator[Rule]:
        """Let the policy decide; what no rule of it allows is dropped and counted."""
        chain = Way(self._frame, self._builder, name, source, destination).chain()
        yield Rule(match + expression.jump(chain))
        yield Rule(match + self._drop(name))

    def _limit(self) -> Iterator[Rule]:
        rate = self._frame.settings.connection_limit
        if rate is None:
            return
        new = self._from_tunnel + expression.FIRST
        for version in VERSIONS:
            memory = Set(ADDRESS_KEY[version], memory=_MEMORY_SECONDS)
            # The rate is in the elements, too: another rate needs another set.
            name = self._builder.constant(f"beginners/{version}/{rate}", memory)
            over = expression.over_limit(version, name, rate)
            yield Rule(new + expression.family(version) + over + self._drop("over_limit"))

    def _drop(self, reason: str) -> Expression:
        return self._builder.counter(reason) + DROP
