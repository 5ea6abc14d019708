"""Each form of a rule, seen by packets: who a reference means, what a service means, what wins."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from net.ends import ENDS, IN_TUNNEL, UNTOUCHED, Guarded, between, probe, reached
from net.written import Network, Rule, Written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from net.probe import Protocol

MEANT = {
    "any": set(ENDS),
    "host": {"host"},
    "internet": {"internet"},
    "peers": IN_TUNNEL,
    "staff": {"alice", "bob"},
    "group:guests": {"bob", "carol", "behind carol"},
    "peer:carol": {"carol", "behind carol"},
    "peer:dave": {"dave"},
    "lan": {"lan"},
    "net:office": {"office"},
}
"""Which ends each reference means."""

LITERALS = {
    0: {
        "10.77.0.2": {"alice"},
        "10.77.0.2/31": {"alice", "bob"},
        "10.90.0.0/24": {"behind carol"},
        "192.168.0.0/16": {"lan", "office"},
        "192.0.2.7/32": {"internet"},
        "0.0.0.0/0": set(ENDS),
    },
    1: {
        "fd77::2": {"alice"},
        "fd77::2/127": {"alice", "bob"},
        "fd90::/64": {"behind carol"},
        "fd00::/12": {"lan", "office"},
        "2a00:100::7/128": {"internet"},
        "::/0": set(ENDS),
    },
}

NETWORKS = {
    "lan": Network(("192.168.7.0/24", "fd07::/64")),
    "office": Network(("192.168.8.0/24", "fd08::/64"), interface="lan"),
}

DECIDED = between(ENDS, ENDS, "udp") - between(UNTOUCHED, UNTOUCHED, "udp")

SERVICES: dict[str, set[tuple[Protocol, int]]]
TRIED: tuple[tuple[Protocol, int], ...] = (
    *(("tcp", port) for port in (22, 53, 80, 443, 999, 1000, 2000, 2001)),
    *(("udp", port) for port in (22, 53, 80, 443, 999, 1000, 2000, 2001)),
    *(("icmp", 0), ("ping", 0)),
)
SERVICES = {
    "any": set(TRIED),
    "tcp": {each for each in TRIED if each[0] == "tcp"},
    "udp": {each for each in TRIED if each[0] == "udp"},
    "tcp/22": {("tcp", 22)},
    "udp/1000-2000": {("udp", 1000), ("udp", 2000)},
    "icmp": {("icmp", 0), ("ping", 0)},
    "ping": {("ping", 0)},
    "ssh": {("tcp", 22)},
    "dns": {("tcp", 53), ("udp", 53)},
    "http": {("tcp", 80)},
    "web": {("tcp", 80), ("tcp", 443), ("udp", 443)},
    "tcp/999-1000, udp/22, ping": {("tcp", 999), ("tcp", 1000), ("udp", 22), ("ping", 0)},
}


@pytest.fixture(scope="module")
def crossroads() -> Iterator[Guarded]:
    with Guarded() as hosts:
        yield hosts


def written(*rules: Rule) -> Written:
    """Return a policy of these rules, and of nothing else but the host's way to its peers."""
    return Written(
        ("isolated",),
        rules,
        networks=NETWORKS,
        services={"web": ("tcp/80", "tcp/443", "udp/443")},
    )


BY_PRESET = between({"host"}, IN_TUNNEL, "udp")


PAIRS = [  # others are about nothing that comes from the tunnel or goes to it, and are refused
    pair for pair in product(MEANT, MEANT) if any(MEANT[end] & IN_TUNNEL for end in pair)
]


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_allowed_from_whom_to_whom(crossroads: Guarded, source: str, destination: str) -> None:
    crossroads.enforce(written(Rule.of("allow", source, destination)))
    expected = between(MEANT[source], MEANT[destination], "udp") & DECIDED
    assert reached(crossroads, "udp") == expected | BY_PRESET


@pytest.mark.parametrize("end", MEANT)
def test_denied_from_and_to(crossroads: Guarded, end: str) -> None:
    everything = Rule.of("allow", "any", "any")
    for source, destination in ((end, "any"), ("any", end)):
        denied = between(MEANT[source], MEANT[destination], "udp")
        crossroads.enforce(written(Rule.of("deny", source, destination), everything))
        assert reached(crossroads, "udp") == DECIDED - denied


@pytest.mark.parametrize("version", [0, 1])
def test_addresses_and_prefixes(crossroads: Guarded, version: int) -> None:
    pairs = [(one, other) for one, other, _ in DECIDED]
    for literal, meant in LITERALS[version].items():
        for rule, expected in (
            (Rule.of("allow", literal, "peers"), between(meant, IN_TUNNEL, "udp")),
            (Rule.of("allow", "peers", literal), between(IN_TUNNEL, meant, "udp")),
        ):
            crossroads.enforce(written(rule))
            found = crossroads.pass_through(probe(*pair, version) for pair in pairs)
            through = {(*pair, "udp") for pair, seen in zip(pairs, found, strict=True) if seen}
            assert through == expected | BY_PRESET, rule


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("action", ["allow", "deny"])
def test_services(crossroads: Guarded, service: str, action: str) -> None:
    others = Rule.of("allow", "staff", "lan")
    rules = [Rule.of(action, "staff", "lan", *service.split(", "))] + [others] * (action == "deny")
    crossroads.enforce(written(*rules))
    for version in (0, 1):
        probes = [probe("alice", "lan", version, *each) for each in TRIED]
        found = crossroads.pass_through(probes)
        through = {each for each, seen in zip(TRIED, found, strict=True) if seen}
        expected = SERVICES[service] if action == "allow" else set(TRIED) - SERVICES[service]
        assert through == expected


def test_the_first_rule_that_matches_decides(crossroads: Guarded) -> None:
    rules = (
        Rule("deny", ("peer:bob", "10.90.0.0/24", "fd90::/64"), ("lan", "office"), ("udp/9",)),
        Rule("allow", ("staff", "guests"), ("lan",), ("udp", "tcp"), log=True),
        Rule("deny", ("any",), ("any",)),
        Rule("allow", ("peer:dave",), ("lan",)),
    )
    crossroads.enforce(written(*rules))
    assert reached(crossroads, "udp") == {("alice", "lan", "udp"), ("carol", "lan", "udp")}
    assert reached(crossroads, "tcp") == between(
        {"alice", "bob", "carol", "behind carol"}, {"lan"}, "tcp"
    )
