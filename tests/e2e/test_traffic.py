"""What a peer can do through a running server: the tunnel, the hub, the gateway."""

import time

import pytest

from harness import Network, count_packets, is_fast, ping

THROUGHPUT = 20e6
"""Bits per second that any machine reaches; a tunnel that loses or delays packets does not."""

ECHO_REQUESTS = {
    "ipv4": "icmp type echo-request ip saddr",
    "ipv6": "icmpv6 type echo-request ip6 saddr",
}


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_pings_server_b_and_lan(network: Network, family: str) -> None:
    hosts = network.hosts
    for host in (network, network.b, hosts.lan_host):
        assert ping(hosts.a, getattr(host, family)).lost == 0


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_lan_sees_the_servers_address(network: Network, family: str) -> None:
    hosts = network.hosts
    server = getattr(hosts.server_lan, family)
    requests = ECHO_REQUESTS[family]
    with (
        count_packets(hosts.lan, f"{requests} {server}") as from_server,
        count_packets(hosts.lan, f"{requests} != {server}") as from_others,
    ):
        assert ping(hosts.a, getattr(hosts.lan_host, family)).lost == 0
        assert (from_server(), from_others()) == (3, 0)


@pytest.mark.parametrize("reverse", [False, True], ids=["up", "down"])
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_transfers_with_the_server(network: Network, family: str, reverse: bool) -> None:
    hosts = network.hosts
    assert is_fast(hosts.a, hosts.server, getattr(network, family), THROUGHPUT, reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True], ids=["up", "down"])
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_transfers_with_the_lan(network: Network, family: str, reverse: bool) -> None:
    hosts = network.hosts
    assert is_fast(hosts.a, hosts.lan, getattr(hosts.lan_host, family), THROUGHPUT, reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True], ids=["up", "down"])
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_transfers_with_b(network: Network, family: str, reverse: bool) -> None:
    hosts = network.hosts
    assert is_fast(hosts.a, hosts.b, getattr(network.b, family), THROUGHPUT, reverse=reverse)


@pytest.mark.parametrize("size", [0, 1, 1391, 1392, 1393, 5000, 20000])
def test_packets_of_every_size_pass(network: Network, size: int) -> None:
    """1392 bytes of payload fill the tunnel's MTU of 1420; what is larger travels in fragments."""
    assert ping(network.hosts.a, network.ipv4, size=size).lost == 0
    assert ping(network.hosts.a, network.ipv6, size=size).lost == 0


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_source_of_another_peer_is_dropped_and_counted(network: Network, family: str) -> None:
    hosts = network.hosts
    stolen = getattr(network.b, family)
    length = "32" if family == "ipv4" else "128"

    def refused() -> int:
        return int(network.server.status()["drops"].get("source_address", 0))

    before = refused()
    hosts.a.add_address(network.a.interface, f"{stolen}/{length}")
    try:
        with count_packets(hosts.server, f"{ECHO_REQUESTS[family]} {stolen}") as requests:
            answer = ping(hosts.a, getattr(network, family), count=5, deadline=1, source=stolen)
            deadline = time.monotonic() + 30
            while (counted := refused() - before) < 5:
                assert time.monotonic() < deadline, counted
            assert requests() == 0
    finally:
        hosts.a.ip("address", "del", f"{stolen}/{length}", "dev", network.a.interface)
    assert answer.received == 0


def test_server_reaches_its_peers_and_nobody_else(network: Network) -> None:
    hosts = network.hosts
    assert ping(hosts.server, network.a.ipv4).lost == 0
    assert ping(hosts.server, network.b.ipv6).lost == 0
    stranger = network.ipv4.rpartition(".")[0] + ".254"
    assert ping(hosts.server, stranger, count=1, deadline=1).received == 0
