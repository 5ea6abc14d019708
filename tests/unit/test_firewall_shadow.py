"""Rules that never decide, against an oracle that asks for one connection after another."""

import re
import time
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import product
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.policies import policy
from wgbind.errors import InputError
from wgbind.firewall.decide import End, Flow, FlowProtocol, decide
from wgbind.firewall.policy import Policy
from wgbind.firewall.shadow import shadowed
from wgbind.settings.reference import Vocabulary, Zone
from wgbind.settings.rule import CONCERNED, Rule

WORDS = ("any", "host", "internet", "peers", "lan", "dc")
PREFIXES = ("10.8.0.8/31", "10.8.0.8", "10.8.0.9", "0.0.0.0/0", "::/0", "fd08::8")
NAMES = ("staff", "guests", "peer:alice", "peer:bob")
SERVICES = ("any", "tcp", "udp", "icmp", "ping", "tcp/1", "tcp/2", "tcp/1-2", "tcp/2-65535")

# Of all that these tell apart one each.
ADDRESSES = "10.8.0.2 10.8.0.8 10.8.0.9 8.8.8.8 192.168.7.9 172.16.1.1 fd08::8 fd08::77 fd07::1"
INTERFACES: dict[Zone, tuple[str, ...]] = {
    "host": ("",),
    "tunnel": ("",),
    "outside": ("eth0", "eth1", "eth9"),
}
MESSAGES: tuple[tuple[FlowProtocol | Literal["other"], int], ...] = (
    *(("tcp", 0), ("tcp", 1), ("tcp", 2), ("tcp", 3)),
    *(("udp", 0), ("icmp", 0), ("ping", 0), ("other", 0)),
)


def may_match(rule: str) -> bool:
    try:
        Rule.parse(rule, Vocabulary(("staff", "guests"), ("lan", "dc")))
    except InputError:
        return False
    return True


ends = st.lists(st.sampled_from((*WORDS, *PREFIXES, *NAMES)), min_size=1, max_size=2).map(", ".join)
rules = st.lists(
    st.builds(
        "{} {} -> {} : {}".format,
        st.sampled_from(("allow", "deny")),
        ends,
        ends,
        st.lists(st.sampled_from(SERVICES), min_size=1, max_size=2).map(", ".join),
    ).filter(may_match),
    min_size=2,
    max_size=6,
)


def flows() -> Iterator[Flow]:
    where = {
        zone: [End(zone, ip_address(a), i) for a, i in product(ADDRESSES.split(), interfaces)]
        for zone, interfaces in INTERFACES.items()
    }
    for one, other in CONCERNED:
        for source, destination in product(where[one], where[other]):
            if source.address.version == destination.address.version:
                for protocol, port in MESSAGES:
                    yield Flow(source, destination, protocol, port)


FLOWS = list(flows())


def deciding(made: Policy) -> set[int]:
    return {number - 1 for flow in FLOWS if (number := decide(made, flow).number) is not None}


@settings(max_examples=60)
@given(rules)
def test_only_rules_that_never_decide(texts: list[str]) -> None:
    made = policy(*texts)
    found = {number for number, _ in shadowed(made)}
    never = set(range(len(texts))) - deciding(made)
    assert found <= never, texts
    # Whom a name means can change, and so it is no part of a prefix or of other names.
    if not re.search("|".join(NAMES), " ".join(texts)):
        assert found == {each for each in never if each}, texts


@given(rules)
@settings(max_examples=30)
def test_those_that_decide_in_its_place_suffice(texts: list[str]) -> None:
    for number, others in shadowed(policy(*texts)):
        alone = policy(*(texts[each] for each in (*others, number)))
        assert len(others) in {each for each, _ in shadowed(alone)}


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([f"allow 10.8.{i // 250}.{i % 250} -> 10.9.{i}.0/24" for i in range(200)] * 5, 800),
        ([f"allow staff -> 10.9.{i}.0/24 : tcp/{i}-{i + 9}" for i in range(1, 251)] * 4, 750),
        (
            [f"allow any -> 10.{i // 250}.{i % 250}.0/25" for i in range(999)]
            + ["deny any -> lan"],
            0,
        ),
    ],
)
def test_a_thousand_rules(texts: list[str], found: int) -> None:
    made = policy(*texts)
    begin = time.process_time()
    assert len(list(shadowed(made))) == found
    assert time.process_time() - begin < 20  # below one, if nothing else runs
