"""Addresses, networks and endpoints as text."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgbind.errors import InputError
from wgbind.settings.address import (
    Endpoint,
    parse_address,
    parse_domain,
    parse_interface_address,
    parse_network,
    reserved,
)

LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
HOSTS = (
    st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).filter(lambda ip: IPv6Address(ip).ipv4_mapped is None).map(str)
    | st.lists(LABELS, min_size=1, max_size=4).map(".".join)
)


@given(HOSTS, st.none() | st.integers(1, 65535))
def test_an_endpoint_reads_what_it_writes(host: str, port: int | None) -> None:
    endpoint = Endpoint(host, port)
    assert Endpoint.parse(str(endpoint)) == endpoint
    assert endpoint.with_port(7).port == (7 if port is None else port)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("vpn.example.org", "vpn.example.org", None),
        ("vpn.example.org:51820", "vpn.example.org", 51820),
        ("192.0.2.1:1", "192.0.2.1", 1),
        ("[2001:DB8::1]:65535", "2001:db8::1", 65535),
        ("[2001:db8::1]", "2001:db8::1", None),
        ("2001:db8::1", "2001:db8::1", None),
        ("localhost", "localhost", None),
    ],
)
def test_forms_of_an_endpoint(text: str, host: str, port: int | None) -> None:
    assert Endpoint.parse(text) == Endpoint(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":51820",
        "host:",
        "host:0",
        "host:65536",
        "host:99999",
        "host:x",
        "host:1:2",
        "300.0.0.1",
        "1.2.3",
        "[::1",
        "[10.0.0.1]:1",
        "[]:1",
        "-host",
        "a..b",
        "a b",
        "host\n",
        "host:51820\nPostUp = reboot",
        "x" * 64,
        "fe80::1%eth0",
        "[::ffff:10.0.0.1]:1",
        "bücher.example",
    ],
)
def test_another_endpoint_is_refused(text: str) -> None:
    with pytest.raises(InputError) as error:
        Endpoint.parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.8.0.1", "'10.8.0.1' is not an address with a prefix length, such as 10.8.0.1/24"),
        ("10.8.0.1/33", "'10.8.0.1/33' is not an address with a prefix length"),
        ("x/24", "'x/24' is not an address"),
        ("10.8.0.0/24", "is not an address of a host in 10.8.0.0/24; the first is 10.8.0.1/24"),
        ("10.8.0.255/24", "is not an address of a host in 10.8.0.0/24"),
        ("fd00::/64", "is not an address of a host in fd00::/64; the first is fd00::1/64"),
        ("::ffff:10.8.0.1/120", "is an IPv4 address; write 10.8.0.1"),
        ("127.0.0.2/24", "127.0.0.0/24 is loopback"),
        ("224.0.0.5/24", "224.0.0.0/24 is multicast"),
        ("fe80::1%wg0/64", "has a zone; leave out %wg0"),
        ("fe80::1/64", "fe80::/64 is link-local"),
        ("0.0.0.0/32", "0.0.0.0/32 is unspecified"),
    ],
)
def test_an_interface_address_that_no_host_can_have(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_interface_address(text)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["10.8.0.1/24", "10.0.0.0/31", "10.0.0.1/32", "fd00::1/64"])
def test_an_interface_address(text: str) -> None:
    assert parse_interface_address(text) == ip_interface(text)


def test_reserved_addresses() -> None:
    assert reserved(ip_network("10.0.0.0/30")) == {
        IPv4Address("10.0.0.0"),
        IPv4Address("10.0.0.3"),
    }
    assert reserved(ip_network("fd00::/126")) == {IPv6Address("fd00::")}
    for text in ("10.0.0.0/31", "10.0.0.0/32", "fd00::/127", "fd00::/128"):
        assert reserved(ip_network(text)) == frozenset()


def test_a_network_with_host_bits_names_the_network() -> None:
    with pytest.raises(InputError, match=r"the network is 10\.8\.0\.0/24"):
        parse_network("10.8.0.1/24")
    assert parse_network("0.0.0.0/0") == ip_network("0.0.0.0/0")
    assert parse_network("10.0.0.7") == ip_network("10.0.0.7/32")


@pytest.mark.parametrize("text", ["", "10.0.0.1.", "10.0.0.256", "::g", "10.0.0.1/32", "1"])
def test_text_that_is_no_address(text: str) -> None:
    with pytest.raises(InputError, match="is not an IP address"):
        parse_address(text)


def test_address_and_domain() -> None:
    assert parse_address("10.0.0.1") == ip_address("10.0.0.1")
    assert parse_domain("a_b.example.") == "a_b.example."
    with pytest.raises(InputError, match="is not a host name"):
        parse_domain("a." * 127 + "b")
