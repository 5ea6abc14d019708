"""Who goes straight from peer to peer, against the policy's own decisions about each connection."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_interface
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.peer import make_peer
from wgbind.firewall.decide import End, Flow, decide, is_end
from wgbind.firewall.hub import MAX_CLASSES, Hub, hub_classes, narrow
from wgbind.firewall.policy import Policy
from wgbind.settings.address import Address
from wgbind.settings.policy import PolicySettings
from wgbind.settings.service import ANY_SERVICE
from wgbind.store.peer import Peer

ADDRESSES = (ip_interface("10.0.0.1/16"), ip_interface("fd00::1/64"))
GROUPS = ("staff", "guests", "printers")


def policy(members: Iterable[Peer], **settings: Any) -> Policy:
    section = PolicySettings.model_validate({"groups": GROUPS, **settings})
    return Policy("wg0", ADDRESSES, None, section, tuple(members))


def pairs(members: Iterable[Peer]) -> list[tuple[Address, Address]]:
    """Return all pairs of addresses between which packets can go."""
    addresses = [address for each in members for address in each.addresses]
    return [
        (one, other) for one, other in product(addresses, repeat=2) if one.version == other.version
    ]


def straight(*members: Peer, **settings: Any) -> set[tuple[str, str]]:
    """Return the names of those who go straight, with the lower name first."""
    hub = hub_classes(policy(members, **settings))
    owners = {address: each.name for each in members for address in each.addresses}
    return {
        (owners[one], owners[other])
        for one, other in pairs(members)
        if hub.joins(one, other) and owners[one] <= owners[other]
    }


A, B, C = make_peer(2, "staff"), make_peer(3, "staff"), make_peer(4, "guests")
ALL = {(one, other) for one in ("p2", "p3", "p4") for other in ("p2", "p3", "p4") if one <= other}
STAFF = {("p2", "p2"), ("p2", "p3"), ("p3", "p3")}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, set()),
        ({"preset": "isolated"}, set()),
        ({"preset": "hub"}, ALL),
        ({"preset": "site", "networks": {"lan": ["192.0.2.0/24"]}}, ALL),
        ({"preset": "hub", "connection_limit": 50}, set()),
        ({"rules": ["allow staff -> staff"]}, STAFF),
        ({"rules": ["allow staff -> staff log"]}, set()),
        ({"rules": ["allow staff -> staff : tcp, udp, icmp"]}, set()),
        ({"rules": ["allow staff -> staff : ssh", "allow staff -> any"]}, STAFF),
        ({"rules": ["allow staff -> staff : ssh log", "allow staff -> any"]}, set()),
        ({"rules": ["allow staff -> guests"]}, set()),
        (
            {"rules": ["allow staff -> guests", "allow guests -> staff"]},
            {("p2", "p4"), ("p3", "p4")},
        ),
        ({"preset": "hub", "rules": ["deny guests -> peers : smb"]}, STAFF),
        ({"preset": "hub", "rules": ["deny guests -> host"]}, ALL),
        ({"preset": "hub", "rules": ["deny peer:p4 -> peer:p2"]}, ALL - {("p2", "p4")}),
        ({"preset": "hub", "rules": ["deny any -> any : smtp"]}, set()),
        ({"preset": "hub", "rules": ["deny any -> internet : smtp"]}, ALL),
    ],
)
def test_who_goes_straight(settings: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert straight(A, B, C, **settings) == expected


def test_a_rule_about_one_family_closes_that_one() -> None:
    hub = hub_classes(policy([A, B], preset="hub", rules=["deny 10.0.0.2 -> peers"]))
    assert not hub.joins(A.addresses[0], B.addresses[0])
    assert hub.joins(A.addresses[1], B.addresses[1])


def test_only_addresses_of_the_tunnel_go_straight() -> None:
    """Not the server's own, nor one of networks that it once had, nor what is behind a peer."""
    odd = replace(C, addresses=(ip_address("10.0.0.1"), ip_address("192.0.2.1")))
    assert hub_classes(policy([A, odd], preset="hub")) == hub_classes(policy([A], preset="hub"))


def test_peers_alike_share_a_class() -> None:
    hub = hub_classes(policy([make_peer(number) for number in range(2, 1000)], preset="hub"))
    assert set(hub.classes.values()) == {0}
    assert hub.links == {(0, 0)}


def test_more_classes_than_there_may_be_leave_the_rarest_to_the_kernel() -> None:
    count = MAX_CLASSES + 10
    many = [make_peer(number + 1, f"g{number}") for number in range(1, count + 1)]
    crowd = [make_peer(number, f"g{count}") for number in range(1000, 1010)]
    groups = [f"g{number}" for number in range(1, count + 1)]
    rules = [f"allow {group} -> {group}" for group in groups]
    hub = hub_classes(policy([*many, *crowd], groups=groups, rules=rules))
    assert len(set(hub.classes.values())) == MAX_CLASSES
    assert hub.joins(crowd[0].addresses[0], crowd[9].addresses[0])
    assert not hub.joins(many[0].addresses[0], many[1].addresses[0])


members = st.lists(st.frozensets(st.sampled_from(GROUPS)).map(sorted), min_size=2, max_size=5).map(
    lambda groups: [make_peer(number, *each) for number, each in enumerate(groups, 2)]
)

references = st.sampled_from(
    [*GROUPS, "any", "peers", "peer:p2", "peer:p3", "10.0.0.2", "10.0.0.2/31", "fd00::/64"]
)
rules = st.builds(
    "{} {} -> {}{}{}".format,
    st.sampled_from(["allow", "allow", "deny"]),
    st.lists(references, min_size=1, max_size=2).map(", ".join),
    st.lists(references, min_size=1, max_size=2).map(", ".join),
    st.sampled_from(["", "", "", " : any, ssh", " : tcp/22, udp", " : ping"]),
    st.sampled_from(["", "", "", " log"]),
).filter(lambda text: not ("fd00" in text and "10.0" in text))
settings = st.fixed_dictionaries(
    {
        "preset": st.sampled_from(["gateway", "hub", "isolated", "site"]),
        "rules": st.lists(rules, max_size=5),
    }
)


def passes_plainly(policy: Policy, source: Address, destination: Address) -> bool:
    """Whether the first rule between the two that does more than to let some services pass lets
    all of them pass, without a word."""
    ends = End("tunnel", source), End("tunnel", destination)
    for rule in policy.rules:
        if not any(is_end(policy, ref, ends[0]) for ref in rule.sources):
            continue
        if not any(is_end(policy, ref, ends[1]) for ref in rule.destinations):
            continue
        if rule.action == "deny" or rule.log:
            return False
        if ANY_SERVICE in rule.services:
            return True
    return False


PROBES: list[dict[str, Any]] = [
    *({"protocol": protocol, "port": port} for protocol in ("tcp", "udp") for port in (1, 22, 80)),
    {"protocol": "ping"},
    {"protocol": "icmp"},
]


@given(members=members, settings=settings)
def test_the_hub_is_what_the_policy_allows(members: list[Peer], settings: dict[str, Any]) -> None:
    given = policy(members, **settings)
    hub = hub_classes(given)
    for one, other in pairs(members):
        expected = passes_plainly(given, one, other) and passes_plainly(given, other, one)
        assert hub.joins(one, other) == expected
        if expected:
            for probe in PROBES:
                decision = decide(given, Flow(End("tunnel", one), End("tunnel", other), **probe))
                assert decision.allowed
                assert decision.rule is not None
                assert not decision.rule.log


@given(members=members, before=settings, after=settings, gone=st.integers(1, 6))
def test_what_is_narrowed_goes_straight_by_both(
    members: list[Peer], before: dict[str, Any], after: dict[str, Any], gone: int
) -> None:
    old = hub_classes(policy(members, **before))
    left = [each for each in members if each.name != f"p{gone}"]
    new = hub_classes(policy(left, **after))
    both = narrow(old, new)
    for one, other in pairs(members):
        expected = old.joins(one, other) and new.joins(one, other)
        assert both.joins(one, other) == expected
    # So nothing is sent to the device if nothing is closed.
    assert narrow(old, old) == old
    assert narrow(both, new) == both
    assert narrow(Hub(), new) == Hub()


def test_new_peers_narrow_nothing() -> None:
    old = hub_classes(policy([B, C], preset="hub", rules=["deny guests -> staff"]))
    new = hub_classes(policy([A, B, C], preset="hub", rules=["deny guests -> staff"]))
    assert narrow(old, new) == old
    assert len(new.classes) == len(old.classes) + 2


def test_a_narrowed_hub_keeps_to_the_limit() -> None:
    addresses = [IPv4Address("10.0.0.2") + number for number in range(600)]
    links = frozenset((number, number) for number in range(MAX_CLASSES))
    old = Hub({address: number % 200 for number, address in enumerate(addresses)}, links)
    new = Hub({address: number % 256 for number, address in enumerate(addresses)}, links)
    both = narrow(old, new)
    assert len(set(both.classes.values())) == MAX_CLASSES
    for one, other in product(addresses[::7], repeat=2):
        assert not both.joins(one, other) or (old.joins(one, other) and new.joins(one, other))
