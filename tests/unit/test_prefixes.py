"""Subtraction of prefixes, against known results and an oracle that counts addresses one by one."""

from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgbind.settings.address import Network
from wgbind.settings.prefixes import subtract

PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")

# All of IPv4 but the private networks of RFC 1918, a list that administrators copy from each other.
PUBLIC = """
    0.0.0.0/5 8.0.0.0/7 11.0.0.0/8 12.0.0.0/6 16.0.0.0/4 32.0.0.0/3 64.0.0.0/2 128.0.0.0/3
    160.0.0.0/5 168.0.0.0/6 172.0.0.0/12 172.32.0.0/11 172.64.0.0/10 172.128.0.0/9 173.0.0.0/8
    174.0.0.0/7 176.0.0.0/4 192.0.0.0/9 192.128.0.0/11 192.160.0.0/13 192.169.0.0/16
    192.170.0.0/15 192.172.0.0/14 192.176.0.0/12 192.192.0.0/10 193.0.0.0/8 194.0.0.0/7
    196.0.0.0/6 200.0.0.0/5 208.0.0.0/4 224.0.0.0/3
"""


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, texts))


@pytest.mark.parametrize(
    ("wanted", "holes", "rest"),
    [
        (["0.0.0.0/0"], PRIVATE, PUBLIC.split()),
        (["0.0.0.0/0", "::/0"], [], ["0.0.0.0/0", "::/0"]),
        (["0.0.0.0/0", "::/0"], ["0.0.0.0/0"], ["::/0"]),
        (["0.0.0.0/0", "::/0"], ["::/1"], ["0.0.0.0/0", "8000::/1"]),
        (["10.0.0.0/30"], ["10.0.0.0/32"], ["10.0.0.1/32", "10.0.0.2/31"]),
        (["10.0.0.0/30"], ["10.0.0.3/32"], ["10.0.0.0/31", "10.0.0.2/32"]),
        (["10.0.0.0/24"], ["10.0.0.0/8"], []),
        (["10.0.1.0/24", "10.0.0.0/24", "10.0.0.7/32"], [], ["10.0.0.0/23"]),
        (["fd00::/126"], ["fd00::1/128", "fd00::2/128"], ["fd00::/128", "fd00::3/128"]),
        ([], ["0.0.0.0/0"], []),
        (["255.255.255.255/32"], ["0.0.0.0/32"], ["255.255.255.255/32"]),
    ],
)
def test_known_results(wanted: list[str], holes: list[str], rest: list[str]) -> None:
    assert subtract(networks(*wanted), networks(*holes)) == networks(*rest)


def test_everything_but_one_address_takes_a_prefix_for_each_bit() -> None:
    for everything, hole in (("0.0.0.0/0", "203.0.113.7/32"), ("::/0", "2001:db8::7/128")):
        (hole_network,) = networks(hole)
        rest = subtract(networks(everything), [hole_network])
        assert len(rest) == hole_network.max_prefixlen
        assert sum(each.num_addresses for each in rest) == 2**hole_network.max_prefixlen - 1


def prefixes(
    family: type[IPv4Network] | type[IPv6Network], bits: int
) -> st.SearchStrategy[Network]:
    """Prefixes among the last 64 addresses of a family: few enough to go through."""
    end = 2**bits - 64

    def prefix(length: int, number: int) -> Network:
        return family((end + (number & ~(2**length - 1)), bits - length))

    return st.builds(prefix, st.integers(0, 6), st.integers(0, 63))


either = st.one_of(prefixes(IPv4Network, 32), prefixes(IPv6Network, 128))


def addresses(of: list[Network] | tuple[Network, ...]) -> set[object]:
    return {address for network in of for address in network}


@given(wanted=st.lists(either, max_size=6), holes=st.lists(either, max_size=6))
def test_exactly_these_addresses_in_as_few_prefixes(
    wanted: list[Network], holes: list[Network]
) -> None:
    rest = subtract(wanted, holes)
    assert addresses(rest) == addresses(wanted) - addresses(holes)
    for version in (4, 6):
        family = [each for each in rest if each.version == version]
        assert family == list(collapse_addresses(family))  # type: ignore[type-var]
    assert list(rest) == sorted(rest, key=lambda each: (each.version, int(each.network_address)))
