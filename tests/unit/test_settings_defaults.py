"""Settings for a server that has none."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgbind.errors import ConflictError
from wgbind.net.host import HostView
from wgbind.settings.address import Address, Network
from wgbind.settings.defaults import fresh_settings
from wgbind.settings.model import ServerSettings

LOOPBACK = ip_address("127.0.0.53")


def host(
    networks: tuple[Network, ...] = (),
    addresses: tuple[Address, ...] = (),
    resolvers: tuple[Address, ...] = (),
) -> HostView:
    return HostView(networks=networks, egress=("eth0",), addresses=addresses, resolvers=resolvers)


def networks(settings: ServerSettings) -> tuple[IPv4Network, IPv6Network]:
    ipv4, ipv6 = (address.network for address in settings.interface.addresses)
    assert isinstance(ipv4, IPv4Network)
    assert isinstance(ipv6, IPv6Network)
    return ipv4, ipv6


PRIVATE = st.sampled_from(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]).map(IPv4Network)
HALVES = PRIVATE.flatmap(lambda block: st.sampled_from(list(block.subnets(2))))
ANY = st.tuples(st.ip_addresses(v=4), st.integers(8, 32)).map(lambda n: IPv4Network(n, False))
LOCAL = st.tuples(st.ip_addresses(v=6, network="fc00::/7"), st.integers(10, 128)).map(
    lambda n: IPv6Network(n, False)
)

ADDRESSES = st.ip_addresses().filter(lambda ip: ip.version == 4 or ip.ipv4_mapped is None)


@given(st.lists(HALVES | ANY | LOCAL, max_size=6), st.lists(ADDRESSES, max_size=3))
def test_nothing_of_the_host_is_overlapped(routes: list[Network], addresses: list[Address]) -> None:
    view = host(tuple(routes), tuple(addresses), (ip_address("10.1.2.3"),))
    ipv4, ipv6 = networks(fresh_settings(view))
    assert ipv4.prefixlen == 24
    assert ipv4.is_private
    assert ipv6.prefixlen == 64
    assert ipv6.subnet_of(IPv6Network("fd00::/8"))
    for address in (*addresses, ip_address("10.1.2.3")):
        assert address not in ipv4
        assert address not in ipv6
    for route in routes:
        assert not route.overlaps(ipv4)
        assert not route.overlaps(ipv6)


@pytest.mark.parametrize(
    ("taken", "chosen"),
    [
        ([], "10.0.0.0/8"),
        (["10.0.0.0/8"], "172.16.0.0/12"),
        (["10.0.0.0/8", "172.16.0.0/12"], "192.168.0.0/16"),
        (["10.0.0.0/9", "10.192.0.0/10", "10.128.0.0/11"], "10.160.0.0/11"),
    ],
)
def test_the_largest_block_with_room_is_used(taken: list[str], chosen: str) -> None:
    ipv4, _ = networks(fresh_settings(host(tuple(map(ip_network, taken)))))
    assert ipv4.subnet_of(IPv4Network(chosen))


def test_the_last_free_network_is_found() -> None:
    last = IPv4Network("10.77.3.0/24")
    taken = tuple(IPv4Network("10.0.0.0/8").address_exclude(last))
    assert networks(fresh_settings(host(taken)))[0] == last


@pytest.mark.parametrize("taken", [["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], ["fc00::/7"]])
def test_a_host_with_routes_to_everything(taken: list[str]) -> None:
    with pytest.raises(ConflictError, match=r"interface\.addresses: .* write them into"):
        fresh_settings(host(tuple(map(ip_network, taken))))


def test_two_servers_get_networks_of_their_own() -> None:
    found = {networks(fresh_settings(host())) for _ in range(20)}
    assert len({ipv6 for _, ipv6 in found}) == 20
    assert len({ipv4 for ipv4, _ in found}) > 15


def test_the_server_has_the_first_address() -> None:
    settings = fresh_settings(host())
    for address in settings.interface.addresses:
        assert address.ip == address.network.network_address + 1
    assert settings.interface.listen_port == 51820


def test_name_servers_that_clients_can_reach() -> None:
    local, far = ip_address("fe80::1"), ip_address("192.168.1.1")
    assert fresh_settings(host(resolvers=(LOOPBACK, far, local, far))).client.dns == (far,)
    public = (ip_address("1.1.1.1"), ip_address("2606:4700:4700::1111"))
    assert fresh_settings(host(resolvers=(LOOPBACK, IPv6Address("::1")))).client.dns == public


def test_no_guess_of_the_endpoint_is_written_down() -> None:
    addresses = (ip_address("192.0.2.7"), ip_address("2001:db8::7"))
    assert fresh_settings(host(addresses=addresses)).client.endpoint is None
