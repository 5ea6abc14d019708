"""What may change while traffic flows: addresses of a client, and the other peers."""

from pathlib import Path

import pytest

from harness import Network, connect, iperf3, ping, udp_stream, wait_until, wg

SOME = 10_000_000
"""Bytes: much more than is in buffers."""


def test_transfer_outlives_a_move_of_the_client(network: Network) -> None:
    hosts, a = network.hosts, network.a
    handshake = a.settled_handshake()
    before = network.server.peer_status("a")
    moved = hosts.link_a.host(9)

    def received() -> int:
        lines = wg(hosts.server, "show", network.server.name, "transfer").splitlines()
        (line,) = (line for line in lines if line.startswith(before["public_key"]))
        return int(line.split()[1])

    start = received()
    transfer = iperf3(hosts.a, hosts.server, network.ipv4, seconds=60)
    wait_until(lambda: received() > start + SOME, "the transfer before the move")

    hosts.a.sysctl("net.ipv4.conf.uplink.promote_secondaries", "1")
    hosts.a.add_address("uplink", f"{moved.ipv4}/28")
    hosts.a.ip("address", "del", f"{hosts.a_outer.ipv4}/28", "dev", "uplink")
    hosts.a.ip("route", "replace", "default", "via", hosts.server_to_a.ipv4)
    wg(hosts.a, "set", a.interface, "listen-port", "40123")

    at_move = received()
    wait_until(lambda: received() > at_move + SOME, "the transfer after the move")
    transfer.stop()
    assert a.keeps_session(handshake)
    after = network.server.peer_status("a")
    assert after["endpoint"] == f"{moved.ipv4}:40123" != before["endpoint"]
    if a.latest_handshake() == handshake:
        assert after["last_handshake"] == before["last_handshake"]


def test_client_moves_from_ipv4_to_ipv6(network: Network, tmp_path: Path) -> None:
    """The client is wgbind-device: wireguard-go sends to a wrong address after such a move, since
    `StdNetBind.Send` copies the 16 bytes of the new address into a slice of 4."""
    hosts, server = network.hosts, network.server
    text = server.add_peer("mover")
    mover = connect(hosts.a, text, tmp_path, implementation="wgbind-device")
    assert ping(hosts.a, network.ipv4, source=mover.interface).lost == 0
    handshake = mover.latest_handshake()
    endpoint = f"[{hosts.server_to_a.ipv6}]:{server.status()['listen_port']}"
    wg(hosts.a, "set", mover.interface, "peer", mover.server_key(), "endpoint", endpoint)
    assert ping(hosts.a, network.ipv4, source=mover.interface).lost == 0
    assert mover.keeps_session(handshake)
    assert server.peer_status("mover")["endpoint"].startswith(f"[{hosts.a_outer.ipv6}]:")
    server.peer("remove", "mover")


@pytest.mark.parametrize("way", ["to the server", "to B"])
def test_no_packet_is_lost_to_a_change_of_other_peers(network: Network, way: str) -> None:
    hosts, server = network.hosts, network.server
    there, address = {
        "to the server": (hosts.server, network.ipv4),
        "to B": (hosts.b, network.b.ipv6),
    }[way]
    handshake = network.a.settled_handshake()
    stream = udp_stream(hosts.a, there, address)
    for name in ("carol", "dave"):
        server.peer("add", name)
    server.peer("remove", "carol")
    server.peer("add", "carol")
    server.peer("remove", "dave")
    server.peer("remove", "carol")
    stream.assert_nothing_lost()
    assert network.a.keeps_session(handshake)
    assert sorted(peer["name"] for peer in server.peers()) == ["a", "b"]


def test_removed_peer_is_served_no_more(network: Network) -> None:
    hosts, server = network.hosts, network.server
    assert ping(hosts.b, network.ipv4).lost == 0
    server.peer("remove", "b")
    assert ping(hosts.b, network.ipv4, count=2, deadline=1).received == 0
    assert ping(hosts.a, network.ipv4).lost == 0
    assert wg(hosts.server, "show", server.name, "peers").split() == [
        peer["public_key"] for peer in server.peers()
    ]
