"""Random policies, none of which wgbind has a reason to refuse, and packets to try them with."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, get_args

from net.crossroads import HOST, LAN, TUNNEL, WAN1, WAN2, Probe, way
from net.probe import Protocol
from net.written import EXIT, PEERS, Forward, Network, Peer, Rule, Written

if TYPE_CHECKING:
    import random

IN_TUNNEL = ("any", "peers", "staff", "group:guests", "peer:alice", "peer:bob", "peer:carol")
"""References that can mean a peer, of which a rule needs at least one."""

ELSEWHERE = ("host", "internet", "lan", "net:office")

LITERALS = {
    4: "10.77.0.2 10.77.0.0/29 10.90.0.0/24 10.90.0.128/26 192.168.7.0/25 192.168.8.9 192.0.2.7 "
    "203.0.113.2 0.0.0.0/0",
    6: "fd77::2 2a00:77::/64 fd90::/64 fd90::8000:0:0:0/65 fd07::/64 fd08::9 2a00:100::7 "
    "2a00:1::2 ::/0",
}

SERVICES = (
    *("any", "tcp", "udp", "tcp/22", "udp/1000-2000", "tcp/80", "icmp", "ping"),
    *("ssh", "dns", "http", "https", "web"),
)
PORTS = (22, 53, 80, 443, 999, 1000, 1500, 2000, 2001, 8080)

NETWORKS = (
    *("10.90.0.0/16", "10.90.0.0/24", "10.90.0.0/25", "10.90.0.9/32", "fd90::/32", "fd90::9/128"),
    # Around the tunnel's own, a part of it, and all of it.
    *("10.64.0.0/10", "10.77.0.192/26", "10.77.0.200/32", "10.77.0.0/24", "fd77::200/120"),
)
"""What may be behind peers, each within another or around it."""

FORWARDS = (
    Forward("tcp", 8080, 8080, "peer:alice", 80),
    Forward("udp", 1000, 1500, "peer:bob"),
    Forward("tcp", 2000, 2001, "peer:carol", masquerade=True),
    Forward("tcp", 53, 53, "10.90.0.9", 22),
    Forward("udp", 53, 53, "fd90::9"),
)

SOURCES = {
    TUNNEL: (
        *("10.77.0.2", "10.77.0.3", "10.77.0.4", "10.77.0.5", "10.77.0.6", "10.77.0.200"),
        *("fd77::2", "fd77::3", "fd77::4", "fd77::5", "fd77::200"),
        *("2a00:77::2", "2a00:77::3", "2a00:77::4", "2a00:77::5"),
        *("10.90.0.9", "10.90.0.129", "10.90.1.9", "fd90::9", "fd90::8000:0:0:9", "fd90:1::9"),
        *("198.18.99.9", "2a00:99::9", "192.0.2.7", "2a00:100::7"),
        *("10.77.0.1", "fd77::1"),
    ),
    LAN: ("192.168.7.9", "192.168.7.200", "192.168.8.9", "fd07::9", "fd08::9"),
    WAN1: ("192.0.2.7", "203.0.113.7", "2a00:100::7", "2a00:1::7", "192.168.7.9", "10.77.0.2"),
    WAN2: ("198.51.100.7", "2a00:2::7", "fd07::9", "2a00:77::3"),
    HOST: ("10.77.0.1", "fd77::1", "2a00:77::1", "192.168.7.1", "203.0.113.2", "2a00:1::2"),
}
"""Where packets come from, with what: also addresses that do not belong there."""

DESTINATIONS = (
    *("10.77.0.1", "fd77::1", "192.168.7.1", "fd07::1", "203.0.113.2", "2a00:1::2"),
    *("10.77.0.2", "10.77.0.3", "10.77.0.4", "10.77.0.5", "10.77.0.200"),
    *("fd77::2", "fd77::3", "fd77::4", "fd77::5", "2a00:77::2", "2a00:77::4"),
    *("10.90.0.9", "10.90.0.129", "fd90::9", "fd90::8000:0:0:9", "198.18.99.9", "2a00:99::9"),
    *("192.168.7.9", "192.168.7.200", "192.168.8.9", "fd07::9", "fd08::9"),
    *("192.0.2.7", "2a00:100::7", "198.51.100.7", "2a00:2::7"),
)


def random_policy(random: random.Random) -> Written:
    """Choose a policy."""
    preset: tuple[str, ...] = ("isolated",)
    if random.random() < 0.8:
        choice = random.sample(("gateway", "hub", "site"), random.choice((1, 1, 2)))
        preset = tuple(choice)
    networks = {
        "lan": Network(
            ("192.168.7.0/24", "fd07::/64"),
            nat=random.choice((None, True, False)),
            interface=random.choice((None, None, LAN)),
        ),
        "office": Network(("192.168.8.0/24", "fd08::/64"), interface=random.choice((None, WAN2))),
    }
    return Written(
        preset=preset,
        rules=tuple(_rule(random) for _ in range(random.randrange(9))),
        networks=networks,
        services={"web": ("tcp/80", "tcp/443", "udp/443")},
        forwards=tuple(random.sample(FORWARDS, random.choice((0, 0, 1, 2)))),
        egress=random.choice(((WAN1,), (WAN1,), (WAN2, WAN1), None)),
        peers=_peers(random),
        tables=random.random() < 0.3,
    )


def random_probes(random: random.Random, count: int) -> list[Probe]:
    """Choose packets; most of them come from the tunnel, go to it, or knock at a forwarded port."""
    probes: list[Probe] = []
    while len(probes) < count:
        enters = random.choice(tuple(SOURCES))
        source = ip_address(random.choice(SOURCES[enters]))
        fitting = [each for each in DESTINATIONS if (":" in each) == (source.version == 6)]
        knocking = random.random() < 0.15  # or hardly any packet would meet a forward
        if knocking:
            fitting = [each for each in fitting if way(ip_address(each)) == HOST]
        destination = ip_address(random.choice(fitting))
        protocol: Protocol = random.choice(("tcp", "udp") if knocking else get_args(Protocol))
        port = random.choice(PORTS) if protocol in ("tcp", "udp") else 0
        knocks = any(forward.takes(protocol, port) for forward in FORWARDS)
        decided = TUNNEL in (enters, way(destination)) or (way(destination) == HOST and knocks)
        if source != destination and (decided or random.random() < 0.1):
            probes.append(Probe(enters, source, destination, protocol, port))
    return probes


def _peers(random: random.Random) -> tuple[Peer, ...]:
    """Choose peers of the picture, or such that are in other groups or have other networks."""
    if random.random() < 0.4:
        return random.choice((PEERS, EXIT))
    peers: list[Peer] = []
    others = random.random() < 0.5
    for peer in random.sample(PEERS, random.randrange(1, 5)):
        groups = frozenset(random.sample(("staff", "guests"), random.randrange(3)))
        networks = peer.routed_networks if random.random() < 0.7 else ()
        if others:
            had = [each for other in peers for each in other.routed_networks]
            chosen = map(ip_network, random.sample(NETWORKS, random.randrange(3)))
            networks = tuple(each for each in chosen if each not in had)
        peers.append(replace(peer, groups=groups, routed_networks=networks))
    return tuple(peers)


def _rule(random: random.Random) -> Rule:
    literals = LITERALS[random.choice((4, 6))].split()
    ends = [
        (random.choice(IN_TUNNEL), *_others(random, literals, random.choice((0, 0, 0, 1, 2)))),
        _others(random, literals, random.choice((1, 1, 1, 2))),
    ]
    random.shuffle(ends)
    services = random.sample(SERVICES, random.choice((0, 0, 1, 1, 2, 3)))
    return Rule(
        action=random.choice(("allow", "deny")),
        sources=tuple(dict.fromkeys(ends[0])),
        destinations=tuple(dict.fromkeys(ends[1])),
        services=tuple(services),
        log=random.random() < 0.1,
    )


def _others(random: random.Random, literals: list[str], count: int) -> tuple[str, ...]:
    return tuple(random.choices((*IN_TUNNEL, *ELSEWHERE, *literals), k=count))
