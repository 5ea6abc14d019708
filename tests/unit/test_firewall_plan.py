"""What a change of the policy changes: rules, and who reaches what."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.policies import MEMBERS, policy
from wgbind.firewall.decide import Flow, decide
from wgbind.firewall.place import places
from wgbind.firewall.plan import plan
from wgbind.firewall.policy import Policy
from wgbind.firewall.reach import EVERYTHING, NOTHING, Traffic, allowed_by
from wgbind.net.way import Way
from wgbind.settings.address import Address
from wgbind.settings.reference import Vocabulary
from wgbind.settings.rule import CONCERNED, Rule
from wgbind.settings.service import Service


def way_to(address: Address) -> Way:
    """Route as a host does whose LAN is at eth1."""
    return Way(local=False, interface="eth1" if str(address).startswith("192.168.") else "eth0")


SERVICES = ["any", "tcp", "udp", "icmp", "ping", "tcp/22", "tcp/20-30", "udp/53", "tcp/1-65535"]
PROBES = [("icmp", 0), ("ping", 0), ("udp", 53), ("udp", 54)]
PROBES += [("tcp", port) for port in (0, 1, 19, 20, 22, 23, 30, 31, 65535)]


def holds(traffic: Traffic, protocol: str, port: int) -> bool:
    return bool(traffic & Traffic.of([Service(protocol, port, port)])) or (  # type: ignore[arg-type]
        protocol == "icmp" and bool(traffic & (Traffic.of([Service("icmp")]) - PING))
    )


PING = Traffic.of([Service("ping")])

traffic = st.lists(st.sampled_from(SERVICES).map(Service.parse), max_size=4).map(Traffic.of)


@given(traffic, traffic)
def test_traffic_is_a_set(one: Traffic, other: Traffic) -> None:
    for protocol, port in PROBES:
        if protocol == "icmp":
            continue
        here, there = holds(one, protocol, port), holds(other, protocol, port)
        assert holds(one - other, protocol, port) == (here and not there)
        assert holds(one & other, protocol, port) == (here and there)
        assert holds(one | other, protocol, port) == (here or there)
    assert (one - other) | (one & other) == one
    assert EVERYTHING - (EVERYTHING - one) == one
    assert bool(one) == (one != NOTHING)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([], "nothing"),
        (["allow any -> peers"], "everything"),
        (["allow any -> peers : tcp/22, ping"], "tcp/22, ping"),
        (["allow any -> peers : icmp, udp"], "udp, icmp"),
        (["deny any -> peers : ping", "allow any -> peers : icmp"], "icmp but ping"),
        (["deny any -> peers : tcp/25", "allow any -> peers"], "everything but tcp/25"),
        (["deny any -> peers : tcp/25", "allow any -> peers : tcp/24-26"], "tcp/24, tcp/26"),
        (["deny any -> peers", "allow any -> peers : tcp"], "nothing"),
        (["allow any -> peers : tcp/1-9, tcp/10-20"], "tcp/1-20"),
        (
            [
                "allow any -> peers : ssh",
                "deny any -> peers : tcp, udp, icmp",
                "allow any -> peers",
            ],
            "tcp/22, other protocols",
        ),
    ],
)
def test_traffic_in_words(rules: list[str], words: str) -> None:
    assert str(allowed_by(Rule.parse(rule, Vocabulary()) for rule in rules)) == words


ENDS = ["any", "peers", "staff", "guests", "peer:alice", "lan", "internet", "host", "10.8.0.0/30"]


@st.composite
def random_policies(draw: st.DrawFn) -> Policy:
    end, service = st.sampled_from(ENDS), st.sampled_from(SERVICES)
    rules = []
    for _ in range(draw(st.integers(0, 5))):
        source, destination = draw(end), draw(end)
        if not {source, destination} & set(ENDS[:5]):
            destination = "peers"
        action = draw(st.sampled_from(["allow", "deny"]))
        rules.append(f"{action} {source} -> {destination} : {draw(service)}")
    presets: list[list[str]] = [[], ["gateway"], ["hub"], ["isolated"], ["site", "gateway"]]
    return policy(*rules, preset=draw(st.sampled_from(presets)))


@given(random_policies(), random_policies())
def test_plan_is_the_difference_between_decisions(old: Policy, new: Policy) -> None:
    """For each pair of places and each probe, against `decide`, which goes another way."""
    found: dict[tuple[str, str], list[tuple[Traffic, Traffic]]] = {}
    for change in plan(old, new, way_to).reach:
        label = change.destination.partition(" (IPv")[0]
        found.setdefault((change.source, label), []).append((change.gained, change.lost))
    ends = places(way_to, (new, old), (*new.rules, *old.rules))
    for source in ends:
        for destination in ends:
            there = destination.end if destination != source else destination.other
            versions = {source.end.address.version, destination.end.address.version}
            zones = (source.end.zone, destination.end.zone)
            if there is None or len(versions) > 1 or zones not in CONCERNED:
                continue
            changes = found.get((source.label, destination.label), [])
            for protocol, port in PROBES:
                flow = Flow(source.end, there, protocol, port)  # type: ignore[arg-type]
                was, will = decide(old, flow).allowed, decide(new, flow).allowed
                gained = any(holds_probe(gains, protocol, port) for gains, _ in changes)
                lost = any(holds_probe(loses, protocol, port) for _, loses in changes)
                assert not (will and not was) or gained
                assert not (was and not will) or lost
                if len(changes) == 0:
                    assert was == will


def holds_probe(found: Traffic, protocol: str, port: int) -> bool:
    if protocol == "icmp":
        return bool(found & (Traffic.of([Service("icmp")]) - PING))
    return holds(found, protocol, port)


def test_same_policy_changes_nothing() -> None:
    made = policy("allow staff -> lan : ssh", preset=["gateway"])
    found = plan(made, made, way_to)
    assert (found.rules, found.other, found.reach) == ((), (), ())


def test_edit_is_told_in_rules_and_in_reach() -> None:
    old = policy("allow staff -> lan : ssh", preset=["gateway"])
    new = policy(
        "deny peer:alice -> lan", "allow staff -> lan : ssh, ping", preset=["gateway", "hub"]
    )
    found = plan(old, new, way_to)
    assert [(each.added, each.number, str(each.rule)) for each in found.rules] == [
        (False, 1, "allow staff -> lan : tcp/22"),
        (True, 1, "deny peer:alice -> lan"),
        (True, 2, "allow staff -> lan : tcp/22, ping"),
        (True, 6, "allow peers -> peers"),
        (True, 7, "allow peers -> host : ping"),
        (True, 8, "allow host -> peers"),
    ]
    reach = {
        (each.source, each.destination): (str(each.gained), str(each.lost)) for each in found.reach
    }
    assert reach["peer:alice", "lan"] == ("nothing", "tcp/22")
    assert reach["staff", "lan"] == ("ping", "nothing")
    assert reach["peer:alice", "other peers"] == ("everything", "nothing")
    assert ("other peers", "lan") not in reach
    assert all(source != "host" for source, _ in reach)


def test_what_differs_beside_the_rules() -> None:
    old = policy(forwards=["tcp/80 -> peer:bob"], connection_limit=5)
    new = policy(
        forwards=["tcp/81 -> peer:bob"],
        networks={
            "lan": {"prefixes": ["192.168.7.0/24"], "nat": False},
            "dc": {"prefixes": ["172.16.0.0/16"], "interface": "eth1", "nat": False},
            "new": ["172.20.0.0/16"],
        },
        egress=None,
    )
    assert plan(old, new, way_to).other == (
        "egress: eth0 becomes any",
        "network lan: 192.168.7.0/24, fd07::/64 becomes 192.168.7.0/24",
        "network dc: NAT off",
        "network new: added",
        "forward removed: tcp/80 -> peer:bob",
        "forward added: tcp/81 -> peer:bob",
        "connection_limit: 5 becomes None",
    )


def test_ipv6_is_named_where_it_differs() -> None:
    old = policy("allow staff -> lan")
    new = policy("allow staff -> lan", "allow peers -> 0.0.0.0/0 : dns")
    # Of the others no one has IPv6.
    changes = plan(old, new, way_to).reach
    labels = {each.destination for each in changes if each.source == "staff"}
    assert "internet (IPv4)" in labels
    assert "internet" not in labels


def test_one_peer_alone_does_not_meet_itself() -> None:
    lonely = replace(policy(preset=["hub"]), members=MEMBERS[:1])
    labels = {
        (each.source, each.destination)
        for each in plan(replace(lonely, settings=policy().settings), lonely, way_to).reach
    }
    assert ("peers", "peers") not in labels
    assert ("peers", "host") in labels


def test_too_many_kinds_of_peers_are_compared_by_what_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = ["allow staff -> lan", "allow guests -> host", "allow peer:alice -> dc"]
    old, new = policy(*rules), policy("deny guests -> lan", *rules)
    exact = {(each.source, each.destination) for each in plan(old, new, way_to).reach}
    assert exact == {("guests+staff", "lan")}
    monkeypatch.setattr("wgbind.firewall.plan.MAX_PLACES", 9)
    coarse = plan(old, new, way_to)
    assert "too many combinations" in coarse.other[-1]
    assert {each.source for each in coarse.reach} <= {"guests"}
