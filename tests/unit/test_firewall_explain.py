"""Questions in words, and their answers."""

import re
from dataclasses import replace
from ipaddress import ip_network

import pytest

from unit.policies import MEMBERS, end, flow, policy
from wgbind.errors import InputError, NotFoundError, WgbindError
from wgbind.firewall.decide import End
from wgbind.firewall.explain import explain
from wgbind.firewall.question import Question
from wgbind.net.way import Way
from wgbind.settings.address import Address


def way_to(address: Address, peer: Address | None) -> Way | None:
    """Route as a host with a LAN and an uplink does, IPv4's alone."""
    if str(address).startswith("192.168.7."):
        return Way(local=str(address).endswith(".1"), interface="eth1")
    if address.version == 6:
        return None
    return Way(local=False, interface="eth9" if str(peer) == "10.8.0.4" else "eth0")


@pytest.mark.parametrize(
    ("words", "question"),
    [
        ("alice bob:22", Question("alice", "bob", "tcp", 22)),
        ("alice -> bob", Question("alice", "bob", "ping")),
        ("alice→[fd07::1]:53 udp", Question("alice", "fd07::1", "udp", 53)),
        ("fd08::2 -> fd07::1", Question("fd08::2", "fd07::1", "ping")),
        ("host peer:host:80", Question("host", "peer:host", "tcp", 80)),
        ("alice -> internet icmp", Question("alice", "internet", "icmp")),
    ],
)
def test_question_is_read(words: str, question: Question) -> None:
    assert Question.parse([words]) == question
    assert Question.parse(words.split()) == question


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "is not a question"),
        ("alice", "is not a question"),
        ("alice bob tcp 22", "is not a question"),
        ("alice bob tcp", "tcp needs a port, as in bob:22"),
        ("alice bob:22 ping", "ping has no ports; leave out :22"),
        ("alice bob:70000", "there is no port 70000"),
        ("alice bob:22 sctp", "'sctp' is not a protocol"),
    ],
)
def test_what_is_no_question(words: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Question.parse([words])


@pytest.mark.parametrize(
    ("words", "source", "destination"),
    [
        ("alice bob", end("10.8.0.2"), end("10.8.0.3")),
        ("alice host", end("10.8.0.2"), end("host")),
        ("host fd08::2", End("host", end("fd08::1").address), end("fd08::2")),
        ("alice 192.168.7.9", end("10.8.0.2"), end("192.168.7.9@eth1")),
        ("alice 192.168.7.1", end("10.8.0.2"), End("host", end("192.168.7.1").address)),
        ("192.168.7.9 10.20.3.4", end("192.168.7.9@eth1"), end("10.20.3.4")),
        ("alice internet", end("10.8.0.2"), end("1.1.1.1@eth0")),
        ("carol internet", end("10.8.0.4"), end("1.1.1.1@eth9")),
        ("alice fd07::9", end("fd08::2"), End("outside", end("fd07::9").address)),
        ("10.8.0.77 host", end("10.8.0.77"), end("host")),
    ],
)
def test_ends_of_a_question(words: str, source: End, destination: End) -> None:
    asked = Question.parse([words]).flow(policy(), way_to)
    assert (asked.source, asked.destination) == (source, destination)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ("dave host", NotFoundError, "there is no peer 'dave'"),
        ("bob fd07::1", InputError, "no addresses of one kind"),
        ("alice 10.8.0.300", InputError, "is not an IP address"),
    ],
)
def test_ends_that_there_are_not(words: str, error: type[WgbindError], message: str) -> None:
    with pytest.raises(error, match=message):
        Question.parse([words]).flow(policy(), way_to)


def test_reasons() -> None:
    made = policy("deny guests -> lan log", "allow staff -> lan : ssh", preset=["gateway"])
    for ends, words in (
        (("10.8.0.2", "192.168.7.9@eth1"), "rule 2 is the first that matches: allow staff -> lan"),
        (("10.8.0.3", "192.168.7.9@eth1"), "rule 1 is the first that matches: deny guests"),
        (("10.8.0.2", "10.8.0.3"), "no rule matches, so it is denied"),
        (("10.8.0.1", "10.8.0.3"), "10.8.0.1 is no address of a peer"),
        (("10.8.0.2", "8.8.8.8@eth0"), "rule 3 (preset gateway) is the first that matches"),
        (("10.8.0.2", "host"), "rule 4 is for these two, but for ping"),
    ):
        assert words in explain(made, flow(*ends)).reason


@pytest.mark.parametrize(
    ("ends", "preset", "nat"),
    [
        (("10.8.0.2", "8.8.8.8@eth0"), "gateway", True),
        (("10.8.0.2", "192.168.7.9@eth1"), "gateway", True),
        (("10.8.0.2", "192.168.7.9@eth0"), "site", False),
        (("10.8.0.2", "172.16.0.1@eth1"), "site", True),
        (("fd08::2", "2001:db8::1@eth0"), "gateway", True),
        (("10.8.0.2", "10.8.0.3"), "hub", False),
        (("192.168.7.9@eth1", "10.8.0.2"), "site", False),
    ],
)
def test_nat(ends: tuple[str, str], preset: str, nat: bool) -> None:
    networks = {
        "lan": ["192.168.7.0/24"],
        "dc": {"prefixes": ["172.16.0.0/16"], "nat": True},
    }
    made = policy("allow any -> any", preset=[preset], networks=networks)
    assert explain(made, flow(*ends)).nat is nat


def test_global_ipv6_is_routed() -> None:
    made = policy("allow any -> any", preset=["gateway"])
    global_member = replace(MEMBERS[0], routed_networks=(ip_network("2001:db8::/48"),))
    made = replace(made, members=(global_member, *MEMBERS[1:]))
    assert not explain(made, flow("2001:db8::7", "2606:4700::1@eth0")).nat
    assert explain(made, flow("fd08::2", "2606:4700::1@eth0")).nat


@pytest.mark.parametrize(
    ("rules", "preset", "straight"),
    [
        ([], "hub", True),
        ([], "gateway", False),
        (["allow staff -> peers"], "isolated", False),  # back only answers
        (["allow staff -> staff : tcp"], "hub", True),
        (["deny staff -> peers : smtp"], "hub", False),
        (["allow staff -> peers log"], "hub", False),
    ],
)
def test_way_between_peers(rules: list[str], preset: str, straight: bool) -> None:
    made = policy(*rules, preset=[preset])
    assert explain(made, flow("10.8.0.2", "10.8.0.3")).straight is straight
    assert not explain(made, flow("10.8.0.2", "host", "ping")).straight


def test_forwards() -> None:
    made = policy(forwards=["tcp/8080-8081 -> peer:bob", "udp/53 -> fd08::2 : 5353 masquerade"])
    taken = explain(made, flow("8.8.8.8@eth0", "host", "tcp/8081"))
    assert taken.decision.allowed
    assert (taken.flow.destination, taken.flow.port, taken.nat) == (end("10.8.0.3"), 8081, False)
    assert str(taken.forward) in taken.reason
    hairpin = explain(made, flow("10.8.0.2", "host", "tcp/8080"))
    assert (hairpin.decision.allowed, hairpin.nat) == (True, True)
    for ends, service in (
        (("10.8.0.2", "host"), "tcp/8082"),
        (("10.8.0.2", "host"), "udp/53"),  # leads to an IPv6 address
        (("10.8.0.1", "host"), "tcp/8080"),  # spoofed
    ):
        assert not explain(made, flow(*ends, service)).decision.allowed
    with pytest.raises(InputError, match="nothing goes through the tunnel"):
        explain(made, flow("192.168.7.9@eth1", "host", "tcp/8080"))  # not by an egress
    own = End("host", end("fd08::1").address)
    asked = flow("fd08::2", "host", "udp/53")
    answered = explain(made, type(asked)(asked.source, own, "udp", 53))
    assert (answered.flow.destination, answered.flow.port) == (end("fd08::2"), 5353)
