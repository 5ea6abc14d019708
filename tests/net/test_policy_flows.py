"""Connections: answers, errors, what stays open over a change, what is too much."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, get_args

import pytest

from net.crossroads import HOST, TUNNEL, WAN1, Probe
from net.ends import ENDS, IN_TUNNEL, OUTSIDE, Guarded, pass_one, probe
from net.probe import FIN, SYN, Packet, Protocol, checksum
from net.written import EXIT, Rule, Written

if TYPE_CHECKING:
    from collections.abc import Iterator

OUT = Written(("gateway",))
NOBODY = Written(("isolated",))
ONLY_ALICE = Written(("isolated",), (Rule.of("allow", "peer:alice", "any"),))
ALL_BUT_CAROL = Written(
    ("isolated",), (Rule.of("deny", "peer:carol", "any"), Rule.of("allow", "any", "any"))
)


@pytest.fixture(scope="module")
def crossroads() -> Iterator[Guarded]:
    with Guarded() as hosts:
        yield hosts


@pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("protocol", get_args(Protocol))
class TestState:
    def test_answers_need_no_rule(
        self, crossroads: Guarded, version: int, protocol: Protocol
    ) -> None:
        """What may be begun one way may not be begun the other way, and is answered."""
        one_way = Written(
            ("isolated",),
            (
                Rule.of("allow", "peer:alice", "peer:bob"),
                Rule.of("allow", "lan", "peer:alice"),
                Rule.of("allow", "peer:carol", "internet"),
                Rule.of("deny", "any", "any"),
            ),
        )
        crossroads.enforce(one_way)
        for one, other in (("alice", "bob"), ("lan", "alice"), ("carol", "internet")):
            seen = pass_one(crossroads, one, other, version, protocol)
            assert seen is not None
            assert pass_one(crossroads, other, one, version, protocol) is None
            (answer,) = crossroads.answer([seen])
            assert answer is not None
            assert answer.at == ENDS[one][0]
            assert str(answer.packet.source) == ENDS[other][1 + version]
            assert str(answer.packet.destination) == ENDS[one][1 + version]

    def test_answers_of_nobody(self, crossroads: Guarded, version: int, protocol: Protocol) -> None:
        """An answer to what was never asked is no answer."""
        crossroads.enforce(NOBODY)
        asked = crossroads.ask(probe("alice", "internet", version, protocol))
        crossroads.send(WAN1, asked.reply().encode())
        assert [seen for seen in crossroads.look() if seen.at != HOST] == []

    def test_what_is_open_stays_open(
        self, crossroads: Guarded, version: int, protocol: Protocol
    ) -> None:
        """State and translations outlive a change of all rules to others that allow the same."""
        open_now = []
        crossroads.enforce(Written(("gateway", "hub"), (Rule.of("allow", "peers", "lan"),)))
        for other in ("internet", "lan", "bob"):
            seen = pass_one(crossroads, "alice", other, version, protocol)
            assert seen is not None
            open_now.append(seen)
        for policy in (ONLY_ALICE, ALL_BUT_CAROL):
            crossroads.enforce(policy)
            answers = crossroads.answer(open_now)
            assert [answer is not None and answer.at for answer in answers] == [TUNNEL] * 3
        for other in ("internet", "lan", "bob"):
            assert pass_one(crossroads, "carol", other, version, protocol) is None


@pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])
def test_errors_about_connections_come_back(crossroads: Guarded, version: int) -> None:
    crossroads.enforce(OUT)

    def told(question: Packet) -> list[str]:
        """Report a packet that reached the internet as undelivered; return who hears of it."""
        crossroads.send(WAN1, question.error(question.destination))
        return [seen.at for seen in crossroads.look() if seen.packet.kind == "error"]

    seen = pass_one(crossroads, "alice", "internet", version)
    assert seen is not None
    assert told(seen.packet) == [TUNNEL]
    crossroads.enforce(NOBODY)
    never_left = crossroads.ask(probe("alice", "internet", version))
    assert told(never_left) == []


@pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])
def test_what_has_no_state_is_nothing(crossroads: Guarded, version: int) -> None:
    """A segment that conntrack calls invalid passes NAT untouched, with the peer's own address."""
    crossroads.enforce(Written(("isolated",), (Rule.of("allow", "any", "any"),)))
    for flags, expected in ((SYN | FIN, []), (SYN, ["tunnel", "wan1", "lan", "host"])):
        for to in ("bob", "internet", "lan", "host"):
            question = crossroads.question(probe("alice", to, version, "tcp"))
            crossroads.send(TUNNEL, question.encode(flags))
        found = [seen.at for seen in crossroads.look() if seen.packet.kind == "question"]
        assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("action", ["allow", "deny"])
def test_fragments_are_judged_as_one_packet(crossroads: Guarded, action: str) -> None:
    """The second one has no ports; it passes with the first one or not at all."""
    rule = Rule.of(action, "staff", "lan", "udp/53")
    others = Rule.of("allow", "staff", "lan", "udp/1-52", "udp/54-65535")
    crossroads.enforce(Written(("isolated",), (rule, others)))
    packet = crossroads.question(probe("alice", "lan", 0, "udp", 53)).encode()
    for first in (True, False):
        crossroads.send(TUNNEL, fragment(packet, first=first))
    assert [seen.at for seen in crossroads.look()] == ["lan"] * (action == "allow")


def fragment(packet: bytes, *, first: bool) -> bytes:
    """Cut an IPv4 packet behind the 8 bytes of UDP's header (RFC 791, 3.2)."""
    header, payload = packet[:20], packet[20:28] if first else packet[28:]
    more, offset = (0x2000, 0) if first else (0, 1)
    header = header[:2] + struct.pack("!HHH", 20 + len(payload), 77, more | offset) + header[8:10]
    header += bytes(2) + packet[12:20]
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def test_sources_that_no_peer_has(crossroads: Guarded) -> None:
    """They are dropped before any rule, also one for everybody."""
    everything = Rule.of("allow", "any", "any")
    outside = [ENDS[name][version] for name in OUTSIDE for version in (1, 2)]
    own = ["10.77.0.1", "fd77::1", "2a00:77::1"]
    nobodys = ["10.78.0.2", "10.91.0.1", "fd78::2", "fd90:2::1"]
    destinations = {4: ("10.77.0.3", "192.168.7.9", "192.0.2.7", "10.77.0.1")}
    destinations[6] = ("fd77::3", "fd07::9", "2a00:100::7", "fd77::1")

    def through(sources: list[str]) -> set[str]:
        probes = [
            Probe.of(TUNNEL, source, destination)
            for source in sources
            for destination in destinations[6 if ":" in source else 4]
            if source != destination
        ]
        found = crossroads.pass_through(probes)
        return {str(each.source) for each, seen in zip(probes, found, strict=True) if seen}

    crossroads.enforce(Written(("isolated",), (everything,)))
    assert through(outside + own + nobodys) == set()
    inside = [ENDS[name][version] for name in IN_TUNNEL for version in (1, 2)]
    assert through(inside) == set(inside)
    # A peer that is the way to everything else may send with every address, but not with ours.
    crossroads.enforce(Written(("isolated",), (everything,), peers=EXIT))
    assert through(outside + own + nobodys) == set(outside + nobodys)


def test_a_limit_of_new_connections(crossroads: Guarded) -> None:
    limit = 5
    crossroads.enforce(Written(("gateway",), connection_limit=limit))
    begun = time.monotonic()
    passed = [
        sum(
            seen is not None
            for seen in crossroads.pass_through([probe(who, "internet", version)] * 40)
        )
        for version in (0, 1)
        for who in ("alice", "bob")
    ]
    seconds = time.monotonic() - begun
    # Each peer has its own: as many at once, and as many more in each second.
    assert all(limit <= count <= limit * (seconds + 1) + 1 for count in passed), passed
    time.sleep(1.1)
    assert pass_one(crossroads, "alice", "internet", 0) is not None


def test_answers_are_not_limited(crossroads: Guarded) -> None:
    crossroads.enforce(Written(("gateway",), connection_limit=1))
    seen = pass_one(crossroads, "carol", "internet", 0)
    assert seen is not None
    for _ in range(20):
        (answer,) = crossroads.answer([seen])
        assert answer is not None


def test_nothing_is_left_of_a_policy(crossroads: Guarded) -> None:
    crossroads.enforce(NOBODY)
    assert pass_one(crossroads, "alice", "bob", 0) is None
    crossroads.lift()
    assert pass_one(crossroads, "alice", "bob", 0) is not None
    assert crossroads.server.run(["nft", "list", "ruleset"]).stdout == ""
