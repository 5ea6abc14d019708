"""A policy with real peers: what it lets through, its change under traffic, its end and return."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from e2e.neighbourhood import GROUPS, Neighbourhood
from harness import host_state, ping
from net.tunnel import blocked, connect, family, reachable

if TYPE_CHECKING:
    from collections.abc import Iterator

OFFICE = """
[policy]
preset = ["gateway"]
groups = ["staff", "guests"]
rules = [
  "deny guests -> internet",
  "allow staff -> lan, staff",
  "allow lan -> peer:carol",
]

[policy.networks]
lan = LAN

[routing]
egress = ["internet", "second"]
"""

EXPLAIN = ("firewall", "explain", "--json", "--server")

REACHED_IN_OFFICE = {
    *("alice bob", "bob alice", "alice lan", "bob lan", "lan carol"),
    *("alice internet", "alice second"),
}

WORKSHOP = """
[policy]
preset = ["isolated"]
groups = ["staff", "guests"]
rules = ["deny guests -> any", "allow peers -> workshop"]

[policy.networks]
workshop = LAN

[routing]
egress = "auto"
"""

CLOSED = """
[policy]
preset = ["isolated"]
groups = ["staff", "guests"]
rules = ["deny staff -> lan", "allow peers -> lan"]

[policy.networks]
lan = LAN

[routing]
egress = "auto"
"""

FORWARDING = """
[policy]
preset = ["gateway"]
groups = ["staff", "guests"]
forwards = ["tcp/8080 -> peer:carol : 80"]

[routing]
egress = "auto"
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbourhood]:
    with Neighbourhood(tmp_path_factory.mktemp("policy")) as neighbourhood:
        yield neighbourhood


def reached(hosts: Neighbourhood, expected: set[str]) -> set[str]:
    """Return who connects to whom by TCP, by IPv4 and IPv6 alike, where a peer is an end.

    Who is expected to may take long for it, as on a busy machine.
    """

    def reaches(pair: tuple[str, str]) -> bool:
        one, other = (hosts.hosts[name] for name in pair)
        should = " ".join(pair) in expected
        versions = [reachable(one, other, each, should) for each in hosts.addresses(pair[1])]
        assert versions[0] == versions[1], pair
        return versions[0]

    pairs = [pair for pair in permutations(hosts.hosts, 2) if GROUPS.keys() & set(pair)]
    with ThreadPoolExecutor(8) as threads:
        answers = [*threads.map(reaches, pairs)]
    return {" ".join(pair) for pair, yes in zip(pairs, answers, strict=True) if yes}


def seen_as(hosts: Neighbourhood, one: str, other: str) -> tuple[str, ...]:
    """Return the addresses that a host connects to another one with."""
    ends = hosts.hosts[one], hosts.hosts[other]
    return tuple(connect(*ends, address) for address in hosts.addresses(other))


def test_a_fresh_server(hosts: Neighbourhood) -> None:
    """Its peers reach the internet, and of the host itself no more than an answer to a ping."""
    hosts.reload()
    expected = {f"{name} internet" for name in GROUPS}
    assert reached(hosts, expected) == expected
    assert seen_as(hosts, "alice", "internet") == hosts.gateway("internet")
    for address in hosts.own:
        assert ping(hosts.hosts["carol"], address).lost == 0
        assert blocked(hosts.hosts["carol"], hosts.server, address)
    for address in hosts.addresses("carol"):
        connect(hosts.server, hosts.hosts["carol"], address)
    assert "not each other" in hosts.wgbind.status()["meaning"]


def test_groups_a_lan_and_two_ways_out(hosts: Neighbourhood) -> None:
    hosts.reload(OFFICE)
    assert reached(hosts, REACHED_IN_OFFICE) == REACHED_IN_OFFICE
    assert seen_as(hosts, "alice", "lan") == hosts.gateway("lan")
    assert seen_as(hosts, "alice", "second") == hosts.gateway("second")
    assert seen_as(hosts, "lan", "carol") == hosts.addresses("lan")


@pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])
def test_explain_says_what_packets_do(hosts: Neighbourhood, version: int) -> None:
    hosts.reload(OFFICE)
    for one, other in (
        *(("alice", "bob"), ("bob", "carol"), ("alice", "lan")),
        *(("carol", "internet"), ("lan", "carol")),
    ):
        here, there = hosts.addresses(one)[version], hosts.addresses(other)[version]
        question = f"{one if one in GROUPS else here} -> [{there}]:443"
        found = json.loads(hosts.wgbind.run(*EXPLAIN, hosts.wgbind.name, question).stdout)
        allowed = bool(found["allowed"])
        assert reachable(hosts.hosts[one], hosts.hosts[other], there, allowed) == allowed, found
        if found["allowed"]:
            source = connect(hosts.hosts[one], hosts.hosts[other], there)
            assert found["nat"] is (source != here), found


def test_open_connections_last_as_long_as_their_permission(hosts: Neighbourhood) -> None:
    hosts.reload(OFFICE)
    lan, alice = hosts.hosts["lan"], hosts.hosts["alice"]
    address = hosts.addresses("lan")[0]
    with (
        lan.call(socket.create_server, (address, 0)) as listener,
        alice.call(socket.create_connection, listener.getsockname()) as here,
        listener.accept()[0] as there,
    ):
        for policy, bobs in ((OFFICE, True), (WORKSHOP, False), (OFFICE, True)):
            hosts.reload(policy)
            assert reachable(hosts.hosts["bob"], lan, address, bobs) == bobs
            for one, other in ((here, there), (there, here)):
                other.settimeout(30)
                one.sendall(b"still here")
                assert other.recv(100) == b"still here"
        hosts.reload(CLOSED)
        for one, other in ((here, there), (there, here)):
            other.settimeout(0.5)
            with pytest.raises(OSError):
                one.sendall(b"no more")
                other.recv(100)
        assert blocked(alice, lan, address)


def test_a_port_that_leads_to_a_peer(hosts: Neighbourhood) -> None:
    """From outside carol sees the caller; a peer is hidden, or the answer would miss the server."""
    hosts.reload(FORWARDING)
    carol = hosts.hosts["carol"]
    for version in (0, 1):
        own, address = hosts.own[version], hosts.addresses("carol")[version]
        with carol.call(socket.create_server, (address, 80), family=family(address)) as listener:
            for caller, called, seen in (
                ("internet", hosts.gateway("internet"), hosts.addresses("internet")[version]),
                ("bob", hosts.own, own),
                ("carol", hosts.own, own),
            ):
                at = (called[version], 8080)
                with hosts.hosts[caller].call(socket.create_connection, at, 30) as sock:
                    accepted, (source, *_) = listener.accept()
                    with accepted:
                        accepted.sendall(b"welcome")
                        assert sock.recv(100) == b"welcome"
                assert source == seen
            assert blocked(hosts.hosts["internet"], carol, address)


def test_nothing_is_open_or_doubled_after_a_crash(hosts: Neighbourhood) -> None:
    def rules() -> list[dict[str, Any]]:
        """Return the server's table without what it counted and where the kernel put it."""
        return [_without_state(entry) for entry in host_state(hosts.server)["nftables"]]

    hosts.reload(OFFICE)
    before = rules()
    hosts.wgbind.kill()
    assert rules() == before
    hosts.wgbind.start()
    assert rules() == before
    hosts.forget_sessions()
    assert reached(hosts, REACHED_IN_OFFICE) == REACHED_IN_OFFICE


def _without_state(value: object) -> Any:
    if isinstance(value, list):
        return [_without_state(each) for each in value]
    if not isinstance(value, dict):
        return value
    state = ("handle", "packets", "bytes", "expires")
    return {key: _without_state(each) for key, each in value.items() if key not in state}
