"""Which routes and rules a server's settings and peers ask for; pure.

Traffic has a way of its own where the settings say so: by an uplink, or through the exit, the peer
that has a default route. Each way is a routing table of the server with a default route, and behind
it one that makes all unreachable: should the way be missing, nothing leaves by another. Rules send
packets there, after the main table had its say on all that it has more than a default route for.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from wgbind.firewall.policy import Marks
from wgbind.net.route import Route
from wgbind.net.rule import Rule
from wgbind.net.uplink import Uplink
from wgbind.settings.routing import EXIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wgbind.net.rule import Block
    from wgbind.settings.address import Network
    from wgbind.settings.model import ServerSettings
    from wgbind.settings.routing import RoutingSettings
    from wgbind.store.peer import Peer

WAY_MASK = 0xFF000000
"""The bits of a packet's mark, and its connection's, that choose the way of what peers send."""

LAST_METRIC = 0xFFFFFFFF

ALL_BITS = 0xFFFFFFFF

VERSIONS = (4, 6)

DEFAULT = (ip_network("0.0.0.0/0"), ip_network("::/0"))

# The steps of the rules.
_SPECIFIC, _ANSWERS, _OWN_ADDRESSES, _OWN_DATAGRAMS, _MARKED, _EXIT, _TABLE = range(1, 8)


@dataclass(frozen=True)
class Plan:
    """What the kernel is to be told."""

    routes: tuple[Route, ...]
    rules: tuple[Rule, ...]


def ways(routing: RoutingSettings) -> dict[str, int]:
    """Number the ways: "exit" and each uplink; the number is that of its table in the block."""
    return {name: number for number, name in enumerate((EXIT, *routing.uplinks), 1)}


def way_mark(number: int) -> int:
    """Return the firewall mark, in the bits of `WAY_MASK`, of packets that take a way."""
    return number << 24


def marks(routing: RoutingSettings) -> Marks:
    """Return the marks by which the firewall says which connection takes which way."""
    numbers = ways(routing)
    return Marks(
        uplinks=tuple((name, way_mark(numbers[name])) for name in routing.uplinks),
        groups=tuple((group, way_mark(numbers[way])) for group, way in routing.egress_for.items()),
    )


def needs_rules(routing: RoutingSettings) -> bool:
    """Whether there is more to say than the main table can."""
    return bool(routing.exit or routing.uplinks or routing.egress_for or routing.fwmark)


def plan(
    name: str,
    settings: ServerSettings,
    peers: Iterable[Peer],
    block: Block | None,
    uplinks: Mapping[str, Uplink],
) -> Plan:
    """Compute routes and rules.

    Args:
        name: The tunnel's interface.
        settings: The server's.
        peers: Its peers.
        block: The server's rules and tables; None if `needs_rules` says that it needs none.
        uplinks: The other interfaces of the host, as they are now.
    """
    routing = settings.routing
    peers = tuple(peers)
    behind = [network for peer in peers for network in peer.routed_networks]
    routes = list(_routes_to_peers(name, settings, behind))
    rules: list[Rule] = []
    if block is not None:
        for way, number in ways(routing).items():
            table = block.table(number)
            if way == EXIT:
                hops = [Route(each, name, table=table) for each in behind if each.prefixlen == 0]
            else:
                hops = list(_hops(way, routing, uplinks.get(way, Uplink()), table))
            closed = (Route(each, None, table=table, metric=LAST_METRIC) for each in DEFAULT)
            routes += [*hops, *closed]
        rules += _rules(name, settings, block, uplinks)
        if routing.exit:
            rules += _rules_for_exit(name, peers)
    return Plan(tuple(routes), tuple(dict.fromkeys(rules)))


def _routes_to_peers(
    name: str, settings: ServerSettings, behind: Iterable[Network]
) -> Iterator[Route]:
    """The routes to what is behind peers; to the tunnel's own networks the kernel has made one."""
    table, metric = settings.routing.table, settings.routing.metric
    own = [address.network for address in settings.interface.addresses]
    for network in behind:
        if any(_within(network, each) for each in own):
            continue  # the settings changed after the peer got it
        if table != "main":
            yield Route(network, name, table=table, metric=metric)
        elif network.prefixlen > 0:  # it would swallow the tunnel's own datagrams
            yield Route(network, name, metric=metric)


def _hops(way: str, routing: RoutingSettings, uplink: Uplink, table: int) -> Iterator[Route]:
    """The default routes of an uplink: those of the settings, else the main table's."""
    said = {gateway.version: gateway for gateway in routing.uplinks[way]}
    for default in DEFAULT:
        version = default.version
        if version in said:
            yield Route(default, way, said[version], table)
        elif not said and version in uplink.gateways:
            yield Route(default, way, uplink.gateways[version], table)


def _rules(
    name: str, settings: ServerSettings, block: Block, uplinks: Mapping[str, Uplink]
) -> Iterator[Rule]:
    routing = settings.routing
    numbers = ways(routing)
    for way in routing.uplinks:
        for address in uplinks.get(way, Uplink()).addresses:
            source = ip_network(address)
            yield Rule(source.version, _SPECIFIC, source=source, specific=True)
            yield Rule(source.version, _ANSWERS, block.table(numbers[way]), source=source)
    if routing.exit:
        # Who called this host by an address of its own gets the answer from there. A program that
        # names no address has none yet when its way is looked for; only IPv6, where that way is
        # closed, looks again with one (net/ipv6/ip6_output.c, ip6_dst_lookup_tail).
        for uplink in uplinks.values():
            for address in uplink.addresses:
                yield Rule(address.version, _OWN_ADDRESSES, source=ip_network(address))
    for version in VERSIONS:
        if "host" in routing.exit:
            mark = (settings.fwmark, ALL_BITS)
            yield Rule(version, _OWN_DATAGRAMS, mark=mark)
        for way in {*routing.uplinks, *routing.egress_for.values()}:
            number = numbers[way]
            marked = (way_mark(number), WAY_MASK)
            yield Rule(version, _SPECIFIC, interface=name, specific=True)
            yield Rule(version, _MARKED, block.table(number), interface=name, mark=marked)
        if routing.fwmark and routing.table != "main":
            yield Rule(version, _TABLE, routing.table, mark=(routing.fwmark, ALL_BITS))
    for version, user, interface in _users_of_exit(name, settings):
        table = block.table(numbers[EXIT])
        yield Rule(version, _SPECIFIC, source=user, interface=interface, specific=True)
        yield Rule(version, _EXIT, table, source=user, interface=interface)


def _rules_for_exit(name: str, peers: Iterable[Peer]) -> Iterator[Rule]:
    """What the exit itself sends does not come back to it."""
    for peer in peers:
        if any(network.prefixlen == 0 for network in peer.routed_networks):
            for source in map(ip_network, peer.addresses):
                yield Rule(source.version, _OWN_ADDRESSES, source=source, interface=name)


def _users_of_exit(
    name: str, settings: ServerSettings
) -> Iterator[tuple[int, Network | None, str | None]]:
    """Whose traffic takes the exit: IP version, source, and the interface where it comes in."""
    for user in settings.routing.exit:
        if user in ("peers", "host"):
            for version in VERSIONS:
                yield version, None, name if user == "peers" else "lo"
        else:
            network = settings.policy.networks[user]
            for prefix in network.prefixes:
                yield prefix.version, prefix, network.interface


def _within(prefix: Network, network: Network) -> bool:
    return prefix.version == network.version and prefix.subnet_of(network)  # type: ignore[arg-type]
