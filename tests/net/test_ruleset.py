"""The ruleset as data: names, and sets as nft prints them."""

import string
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgbind.errors import InputError
from wgbind.firewall.ruleset import Ruleset, table_name

NAMES = st.text(string.ascii_letters + string.digits + "_=+.-", min_size=1, max_size=15)
ADDRESSES = (ip_interface("10.77.0.1/24"), ip_interface("fd77::1/64"))


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
def test_names_that_nft_reads_otherwise_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        Ruleset(name, ADDRESSES)
    with pytest.raises(InputError):
        Ruleset("wg0", ADDRESSES, egress=("eth0", name))


NETWORKS = st.lists(
    st.tuples(st.integers(0, 0xFFFF), st.integers(20, 32)).map(
        # All in 10.0.0.0/16, so that they overlap and touch.
        lambda pair: IPv4Network((0x0A000000 + pair[0], pair[1]), strict=False)
    ),
    max_size=12,
)


@given(NETWORKS, st.integers(0, 0x1FFFF))
def test_sources_are_those_of_the_networks(networks: list[IPv4Network], offset: int) -> None:
    address = IPv4Address(0x0A000000 + offset)
    allowed = any(address in network for network in (*networks, ADDRESSES[0].network))
    ruleset = Ruleset("wg0", ADDRESSES, routed_networks=tuple(networks))
    assert spoofed(ruleset, address) is not allowed


def spoofed(ruleset: Ruleset, address: IPv4Address) -> bool:
    """Evaluate the rule that drops sources outside the networks, as nft does."""
    [right] = [
        match["match"]["right"]
        for rule in ruleset.rules()
        for match in rule["rule"]["expr"]
        if match.get("match", {}).get("op") == "!="
        and match["match"]["left"] == {"payload": {"protocol": "ip", "field": "saddr"}}
    ]
    found = False
    for each in right.get("set", [right]):
        if isinstance(each, str):
            first = last = ip_address(each)
        elif "range" in each:
            first, last = map(ip_address, each["range"])
        else:
            network = ip_network(f"{each['prefix']['addr']}/{each['prefix']['len']}")
            first, last = network[0], network[-1]
        found |= int(first) <= int(address) <= int(last)
    return not found
