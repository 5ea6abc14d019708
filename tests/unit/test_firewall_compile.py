"""The table as data: names, whose addresses are whose, and what a change leaves alone."""

from __future__ import annotations

import string
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.policies import Peer
from wgbind.errors import InputError
from wgbind.firewall.compile import compile_policy, table_name
from wgbind.firewall.frame import counter_name
from wgbind.firewall.policy import Policy
from wgbind.firewall.population import Population
from wgbind.firewall.table import difference
from wgbind.settings.policy import PolicySettings

if TYPE_CHECKING:
    from wgbind.firewall.population import Whose
    from wgbind.firewall.table import Range
    from wgbind.settings.address import Address

NAMES = st.text(string.ascii_letters + string.digits + "_=+.-", min_size=1, max_size=15)
OWN = ip_interface("10.0.77.1/24")
SETTINGS = PolicySettings.model_validate(
    {"groups": ["staff", "guests"], "rules": ["allow staff -> guests", "deny peer:p1 -> any"]}
)


@given(NAMES, NAMES)
def test_two_interfaces_have_two_tables(one: str, other: str) -> None:
    assert (table_name(one) == table_name(other)) == (one == other)


@given(NAMES)
def test_table_names_are_what_nft_reads(name: str) -> None:
    table = table_name(name)
    assert table.startswith("wgbind_")
    assert set(table) <= set(string.ascii_letters + string.digits + "/-_.")


def test_plain_names_stay() -> None:
    assert table_name("wg0") == "wgbind_wg0"


@pytest.mark.parametrize(
    "name", ["", "@set", "eth*", "a b", "$x", 'a"b', "a/b", "..", "0123456789abcdef", "a;b", "é"]
)
def test_names_that_are_no_interfaces_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        Policy(name, (OWN,), None, SETTINGS)
    with pytest.raises(InputError):
        Policy("wg0", (OWN,), ("eth0", name), SETTINGS)


NETWORKS = st.lists(
    st.tuples(st.integers(0, 0xFFFF), st.integers(18, 32)).map(
        # All in 10.0.0.0/16, so that they overlap and touch.
        lambda pair: IPv4Network((0x0A000000 + pair[0], pair[1]), strict=False)
    ),
    max_size=12,
    unique=True,
)


@given(NETWORKS, st.sets(st.integers(2, 254), max_size=4), st.data())
def test_addresses_are_of_whom_the_policy_says(
    networks: list[IPv4Network], numbers: set[int], data: st.DataObject
) -> None:
    addresses: list[Address] = [ip_address(f"10.0.77.{number}") for number in numbers]
    addresses = [each for each in addresses if each not in {net[0] for net in networks}]
    members = tuple(
        Peer(
            f"p{number}",
            frozenset([("staff", "guests")[number % 2]]),
            tuple(addresses[number::3]),
            tuple(networks[number::3]),
        )
        for number in range(3)
    )
    policy = Policy("wg0", (OWN,), None, SETTINGS, members)
    number = data.draw(st.integers(0, 255))
    names = frozenset({("group", "staff"), ("group", "guests"), ("peer", "p1")})
    population = Population.of(policy, names)
    edges: list[Address] = [
        each for net in networks for each in (net[0] - 1, net[0], net[-1], net[-1] + 1)
    ]
    for address in [*edges, *addresses, OWN.ip, OWN.network[number]]:
        owner = policy.owner(address)
        for kind, name in names:
            expected = owner is not None and name in {owner.name, *owner.groups}
            whose: Whose = (kind, name, 4)
            single = address.packed in population.addresses[whose]
            ranged = holds(population.ranges.get(whose, ()), int(address))
            assert (single or ranged) == expected
        source = holds(population.sources[4], int(address)) and address != OWN.ip
        assert source is not policy.is_spoofed(address)


def holds(ranges: tuple[Range, ...], number: int) -> bool:
    return any(first <= number <= last for first, last in ranges)


MEMBERS = tuple(
    Peer(f"p{number}", frozenset(["staff"]), (IPv4Address(f"10.0.77.{number}"),))
    for number in range(2, 9)
)
MORE = tuple(
    Peer(f"m{number}", frozenset(["guests"]), (IPv4Address(f"10.0.77.{number}"),))
    for number in range(100, 160)
)
"""So many that others are few."""

POLICY = Policy("wg0", (OWN,), None, SETTINGS, MEMBERS)


@given(st.sets(st.sampled_from(MEMBERS)), st.sets(st.sampled_from(MEMBERS)), st.booleans())
def test_who_came_and_went_is_counted_as_all_are(
    before: set[Peer], after: set[Peer], routed: bool
) -> None:
    """The oracle counts everybody anew."""
    extra = (replace(MEMBERS[0], groups=frozenset({"guests"})),) if MEMBERS[0] not in after else ()
    network = (ip_network("10.9.0.0/16"),) if routed else ()
    behind = Peer("p1", frozenset({"guests"}), (IPv4Address("10.0.77.99"),), network)
    old = replace(POLICY, members=(*before, *MORE))
    new = replace(POLICY, members=(*after, *extra, *MORE, behind))
    counted = compile_policy(new, compile_policy(old)).population
    assert counted == compile_policy(new).population


def test_a_peer_changes_no_chain() -> None:
    before = compile_policy(POLICY)
    after = compile_policy(replace(POLICY, members=MEMBERS[1:]), before)
    assert after.table.chains is before.table.chains
    (step,) = difference(before.table, after.table)
    assert step.kind.name == "DELETE_ELEMENTS"


def test_no_set_changes_that_could_mislead_a_packet() -> None:
    """A peer that stays, in other groups: what the old rules look at keeps its elements."""
    before = compile_policy(POLICY)
    moved = (replace(MEMBERS[0], groups=frozenset(["guests"])), *MEMBERS[1:])
    after = compile_policy(replace(POLICY, members=moved), before)
    changed = [name for name in after.table.sets if name in before.table.sets]
    assert all(after.table.sets[name] == before.table.sets[name] for name in changed)
    back = compile_policy(POLICY, after)
    assert back.table.sets.keys() == before.table.sets.keys()


def test_an_address_that_was_in_a_network_behind_another_peer_counts_as_known() -> None:
    router = Peer("router", frozenset(["guests"]), (), (IPv4Network("10.9.0.0/16"),))
    host = Peer("host", frozenset(["staff"]), (IPv4Address("10.9.0.9"),))
    before = compile_policy(replace(POLICY, members=(*MEMBERS, router)))
    after = compile_policy(replace(POLICY, members=(*MEMBERS, router, host)), before)
    staff: Whose = ("group", "staff", 4)
    assert after.standing[staff] != before.standing[staff]


def test_a_rule_keeps_its_counter_wherever_it_stands() -> None:
    one, other = SETTINGS.rules
    swapped = replace(POLICY, settings=SETTINGS.model_copy(update={"rules": (other, one)}))
    counters = compile_policy(POLICY).table.counters
    assert compile_policy(swapped).table.counters == counters
    assert counter_name(replace(one, name="first")) == counter_name(one)
    assert {counter_name(one), counter_name(other)} < counters
