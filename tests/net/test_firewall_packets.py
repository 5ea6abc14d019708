"""What the firewall lets through, seen by the hosts around it."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface, ip_network
from typing import Any

import pytest

from harness import ping
from net.host import Host
from net.policies import PEERS, Peer, policy
from net.tunnel import (
    ADDRESSES,
    LAN,
    LAN_SERVER,
    MTU,
    SERVER,
    SIDE,
    SIDE_SERVER,
    A,
    B,
    Capture,
    Tunnel,
    blocked,
    connect,
    extra_address,
    family,
    neighbour,
    payload,
    segment_size,
)
from wgbind.firewall.apply import Firewall, current, remove
from wgbind.firewall.policy import Policy


@pytest.fixture(scope="module")
def hosts() -> Iterator[Tunnel]:
    with Tunnel() as tunnel:
        yield tunnel


@pytest.fixture
def tunnel(hosts: Tunnel) -> Iterator[Tunnel]:
    yield hosts
    hosts.server.call(remove, hosts.name)


def rules(tunnel: Tunnel, **changes: Any) -> None:
    """Apply a policy as a server does that has just started."""
    enforce(tunnel.server, policy(tunnel.name, **changes))


def enforce(host: Host, wanted: Policy) -> None:
    with host.call(Firewall, wanted.interface) as firewall:
        firewall.apply(wanted)


def dropped(tunnel: Tunnel) -> dict[str, int]:
    counters = tunnel.server.call(current, tunnel.name)
    assert counters is not None
    return {name: packets for name, packets in counters.refused.items() if packets}


@pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])
class TestBothVersions:
    def test_peers_reach_each_other(self, tunnel: Tunnel, version: int) -> None:
        rules(tunnel, preset="hub")
        assert connect(tunnel.a, tunnel.b, B[version]) == A[version]
        assert connect(tunnel.b, tunnel.a, A[version]) == B[version]
        assert ping(tunnel.a, B[version]).lost == 0
        assert dropped(tunnel) == {}

    def test_peers_do_not_reach_each_other(self, tunnel: Tunnel, version: int) -> None:
        for egress in (None, ("lan",), ("lan", tunnel.name)):
            rules(tunnel, egress=egress)
            assert blocked(tunnel.a, tunnel.b, B[version])
            assert blocked(tunnel.b, tunnel.a, A[version])
            assert dropped(tunnel).keys() == {"to_peers"}

    def test_peers_reach_other_networks_by_the_servers_address(
        self, tunnel: Tunnel, version: int
    ) -> None:
        rules(tunnel)
        assert connect(tunnel.a, tunnel.lan, LAN[version]) == LAN_SERVER[version]
        assert ping(tunnel.b, LAN[version]).lost == 0
        assert dropped(tunnel) == {}

    def test_peers_do_not_reach_other_networks(self, tunnel: Tunnel, version: int) -> None:
        rules(tunnel, preset="hub")
        assert blocked(tunnel.a, tunnel.lan, LAN[version])
        assert dropped(tunnel).keys() == {"to_networks"}

    def test_only_through_egress(self, tunnel: Tunnel, version: int) -> None:
        rules(tunnel, egress=("lan",))
        assert blocked(tunnel.a, tunnel.side, SIDE[version])
        assert dropped(tunnel).keys() == {"to_networks"}
        rules(tunnel, egress=("side", "lan"))
        assert connect(tunnel.a, tunnel.side, SIDE[version]) == SIDE_SERVER[version]
        assert connect(tunnel.a, tunnel.lan, LAN[version]) == LAN_SERVER[version]
        rules(tunnel, egress=None)
        assert connect(tunnel.a, tunnel.side, SIDE[version]) == SIDE_SERVER[version]
        rules(tunnel, egress=())
        assert blocked(tunnel.a, tunnel.lan, LAN[version])

    def test_services_of_the_host(self, tunnel: Tunnel, version: int) -> None:
        rules(tunnel, rules=["allow peers -> host"])
        assert connect(tunnel.a, tunnel.server, SERVER[version]) == A[version]
        rules(tunnel)
        for address in (SERVER[version], LAN_SERVER[version]):
            assert blocked(tunnel.a, tunnel.server, address)
            assert ping(tunnel.a, address).lost == 0
        # The host's own connections to peers, and other networks to the host, are not affected.
        assert connect(tunnel.server, tunnel.a, A[version]) == SERVER[version]
        assert connect(tunnel.lan, tunnel.server, LAN_SERVER[version]) == LAN[version]
        assert dropped(tunnel).keys() == {"to_host"}

    def test_sources_that_no_peer_has(self, tunnel: Tunnel, version: int) -> None:
        rules(tunnel)
        for number, source in enumerate([("10.78.0.2", "fd78::2")[version], SERVER[version]]):
            at_server, at_lan = Capture(tunnel.server, tunnel.name), Capture(tunnel.lan, "eth0")
            with (
                extra_address(tunnel.a, source),
                tunnel.a.call(socket.socket, family(source), socket.SOCK_DGRAM) as sock,
            ):
                sock.bind((source, 0))
                sock.sendto(b"to the lan", (LAN[version], 9))
                sock.sendto(b"to the host", (LAN_SERVER[version], 9))
            assert [b"to the" in packet for packet in at_server.packets()].count(True) == 2
            assert not any(b"to the" in packet for packet in at_lan.packets())
            assert dropped(tunnel) == {"spoofed": 2 * (number + 1)}

    def test_networks_behind_a_peer(self, tunnel: Tunnel, version: int) -> None:
        behind = ("10.90.0.1", "fd90::1")[version]
        network = str(ip_network((behind, (24, 64)[version]), strict=False))
        tunnel.server.ip("route", "add", network, "via", A[version], "dev", tunnel.name)
        with extra_address(tunnel.a, behind):
            rules(tunnel, preset="hub")
            assert blocked(tunnel.b, tunnel.a, behind)  # the answer comes from nobody's address
            router = Peer.of("a", "staff", *A, network)
            rules(tunnel, preset="hub", members=(router, PEERS[1]))
            assert connect(tunnel.b, tunnel.a, behind) == B[version]
        tunnel.server.ip("route", "delete", network)

    def test_segments_fit_the_tunnel(self, tunnel: Tunnel, version: int) -> None:
        size = MTU - (40, 60)[version]  # IP and TCP headers
        offered = 1500 - (40, 60)[version]
        for clamped in (False, True):
            if clamped:
                rules(tunnel)
            else:  # what hosts would agree on without: the check can fail
                tunnel.server.run(
                    ["nft", "-f", "-"],
                    text=f"table inet {tunnel.name} {{ chain post {{ type nat hook postrouting "
                    'priority srcnat; oifname "lan" masquerade; }; }',
                )
            at_lan, at_a = Capture(tunnel.lan, "eth0"), Capture(tunnel.a, "tun")
            assert connect(tunnel.a, tunnel.lan, LAN[version]) == LAN_SERVER[version]
            assert sizes(at_lan) == {size if clamped else offered, offered}
            assert sizes(at_a) == {offered, size if clamped else offered}
            if not clamped:
                tunnel.server.run(["nft", "delete", "table", "inet", tunnel.name])

    def test_a_server_of_one_version(self, tunnel: Tunnel, version: int) -> None:
        rules(tunnel, addresses=ADDRESSES[version : version + 1])
        assert connect(tunnel.a, tunnel.lan, LAN[version]) == LAN_SERVER[version]
        assert blocked(tunnel.a, tunnel.lan, LAN[1 - version])
        assert dropped(tunnel).keys() == {"spoofed"}

    def test_traffic_of_others_is_left_alone(self, tunnel: Tunnel, version: int) -> None:
        for host, via in ((tunnel.side, SIDE_SERVER), (tunnel.lan, LAN_SERVER)):
            host.ip("route", "replace", "default", "via", via[version])
        rules(tunnel, preset="isolated")
        assert connect(tunnel.side, tunnel.lan, LAN[version]) == SIDE[version]
        assert connect(tunnel.lan, tunnel.side, SIDE[version]) == LAN[version]
        assert connect(tunnel.lan, tunnel.server, SIDE_SERVER[version]) == LAN[version]
        for host in (tunnel.side, tunnel.lan):
            host.ip("-6" if version else "-4", "route", "delete", "default")


def sizes(capture: Capture) -> set[int]:
    return {size for packet in capture.packets() if (size := segment_size(packet)) is not None}


def test_nobody_outside_reaches_a_peer() -> None:
    with Tunnel() as tunnel:
        tunnel.tell_outside_the_way()
        for version in (0, 1):
            assert connect(tunnel.lan, tunnel.a, A[version]) == LAN[version]  # without firewall
        for presets, egress in (
            (["gateway"], ("lan",)),
            (["gateway", "hub"], None),
            ("isolated", ()),
        ):
            rules(tunnel, preset=presets, egress=egress)
            for version in (0, 1):
                for host in (tunnel.lan, tunnel.side):
                    assert blocked(host, tunnel.a, A[version])
        assert ping(tunnel.lan, B[0], count=1, deadline=1).received == 0
        assert dropped(tunnel).keys() == {"from_networks"}


@pytest.mark.parametrize(
    "forbidding",
    [
        {"preset": "hub"},
        {"egress": ("side",)},
        {"rules": ["deny staff -> internet"]},
        {"rules": ["deny guests -> any"], "members": (Peer.of("a", "guests", *A),)},
    ],
)
@pytest.mark.parametrize("version", [0, 1])
def test_a_flow_ends_with_its_permission(
    tunnel: Tunnel, forbidding: dict[str, Any], version: int
) -> None:
    with flow(tunnel, version) as (peer, lan, firewall):
        peer.settimeout(0.3)
        lan.settimeout(0.3)
        tunnel.server.call(firewall.apply, policy(tunnel.name, **forbidding))
        peer.sendall(b"no more")
        lan.sendall(b"nor answers")
        for end in (peer, lan):
            # The kernel forgets the translation, too, and the server itself answers.
            with pytest.raises((TimeoutError, ConnectionResetError)):
                end.recv(100)


@pytest.mark.parametrize(
    "other",
    [
        {"rules": ["deny guests -> any", "deny staff -> internet : udp"], "egress": None},
        {"rules": ["allow guests -> internet"], "members": (Peer.of("a", "guests", *A),)},
        {"rules": ["allow any -> internet : tcp"], "preset": "isolated"},
    ],
)
@pytest.mark.parametrize("version", [0, 1])
def test_a_flow_outlives_other_changes(tunnel: Tunnel, other: dict[str, Any], version: int) -> None:
    with flow(tunnel, version) as (peer, lan, firewall):
        wanted = policy(tunnel.name, **other)
        assert tunnel.server.call(firewall.apply, wanted) is True
        for end, opposite in ((lan, peer), (peer, lan)):
            end.sendall(b"still")
            assert opposite.recv(100) == b"still"


@contextmanager
def flow(tunnel: Tunnel, version: int) -> Iterator[tuple[socket.socket, socket.socket, Firewall]]:
    """A TCP connection of a with the lan, and the firewall that allowed it."""
    address = LAN[version]
    with (
        tunnel.server.call(Firewall, tunnel.name) as firewall,
        tunnel.lan.call(socket.create_server, (address, 0), family=family(address)) as listener,
    ):
        tunnel.server.call(firewall.apply, policy(tunnel.name))
        with (
            tunnel.a.call(socket.create_connection, listener.getsockname()[:2]) as peer,
            listener.accept()[0] as lan,
        ):
            for end, other in ((peer, lan), (lan, peer)):
                other.settimeout(30)
                # Closing sends a reset, and nothing again and again that other tests would count.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.sendall(b"while it may")
                assert other.recv(100) == b"while it may"
            yield peer, lan, firewall


def test_what_has_no_state_does_not_leave_without_nat(tunnel: Tunnel) -> None:
    """A segment that conntrack calls invalid passes NAT untouched, with the peer's own address."""
    rules(tunnel)
    capture = Capture(tunnel.lan, "eth0")
    with tunnel.a.call(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.sendto(tcp(A[0], LAN[0], flags=0x03), (LAN[0], 0))  # SYN and FIN
        raw.sendto(tcp(A[0], LAN[0], flags=0x02), (LAN[0], 0))  # SYN, for comparison
    segments = [packet for packet in capture.packets() if payload(packet, socket.IPPROTO_TCP)]
    assert {socket.inet_ntoa(packet[12:16]) for packet in segments} == {LAN_SERVER[0], LAN[0]}
    assert dropped(tunnel) == {"invalid": 1}


def tcp(source: str, destination: str, flags: int) -> bytes:
    """Build a TCP header with its checksum (RFC 9293, 3.1)."""
    header = struct.pack("!HHIIBBHHH", 40000, 9, 1, 0, 5 << 4, flags, 1024, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination)
    pseudo += struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(header))
    total = sum(struct.unpack(f"!{(len(pseudo) + len(header)) // 2}H", pseudo + header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return header[:16] + struct.pack("!H", total ^ 0xFFFF) + header[18:]


def test_no_redirects_into_the_tunnel(tunnel: Tunnel) -> None:
    for protected in (False, True):
        if protected:
            rules(tunnel, preset="hub")
        capture = Capture(tunnel.a, "tun")
        for version in (0, 1):
            assert ping(tunnel.a, B[version]).lost == 0
        kinds = set()
        for packet in capture.packets():
            for protocol in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6):
                message = payload(packet, protocol)
                kinds |= {(protocol, message[0])} if message else set()
        redirects = {(socket.IPPROTO_ICMP, 5), (socket.IPPROTO_ICMPV6, 137)}
        assert bool(kinds & redirects) is not protected


def test_two_servers_on_one_host(tunnel: Tunnel) -> None:
    """Peers of one server are outside for the other, and each table is its own."""
    server, other = tunnel.server, f"{tunnel.name[:9]}-=+."
    with Host("c") as peer:
        server.ip("link", "add", other, "type", "veth", "peer", "name", "tun", "netns", peer.name)
        for host, name, addresses in (
            (server, other, ("10.79.0.1/24", "fd79::1/64")),
            (peer, "tun", ("10.79.0.2/24", "fd79::2/64")),
        ):
            host.ip("link", "set", name, "up")
            for address in addresses:
                host.ip("address", "add", address, "dev", name, "nodad")
        for address in ("10.79.0.1", "fd79::1"):
            peer.ip("route", "add", "default", "via", address)
            neighbour(peer, address, server.mac(other), "tun")
        neighbour(server, "fd79::2", peer.mac("tun"), other)
        own = (ip_interface("10.79.0.1/24"), ip_interface("fd79::1/64"))
        for egress in (("lan",), None):
            rules(tunnel, egress=egress)
            enforce(server, policy(other, addresses=own, egress=egress, members=()))
            for version in (0, 1):
                theirs = ("10.79.0.2", "fd79::2")[version]
                assert connect(peer, tunnel.lan, LAN[version]) == LAN_SERVER[version]
                assert connect(tunnel.a, tunnel.lan, LAN[version]) == LAN_SERVER[version]
                assert blocked(peer, tunnel.a, A[version])
                assert blocked(tunnel.a, peer, theirs)
        server.call(remove, other)
        assert connect(tunnel.a, tunnel.lan, LAN[0]) == LAN_SERVER[0]
        assert blocked(peer, tunnel.a, A[0])
        server.ip("link", "delete", other)
