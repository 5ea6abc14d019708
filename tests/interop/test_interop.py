"""wireguard-go and wgbind-device, each as client of the other, with a preshared key.

    client ── uplink ─────────────── uplink ── server
    10.7.0.1, fd07::1     PORT       10.7.0.2, fd07::2

What takes minutes is in test_long.py.
"""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from harness import PORT, Relay, ping
from interop.pairs import GO, OURS, PAIRS, Outer, Pair, pair
from netns.interface import assert_all_passes
from wgbind.keys import PresharedKey

RELAY_PORT = 51821

NO_INITIATION = """
table inet lost {
    chain out { type filter hook output priority 0; udp length 156 drop; }
}
"""
"""What gets through has a session already: 148 bytes behind a UDP header are an initiation."""

SILENCE = 15 + 5 + 1
"""Seconds after which a client that gets no answers begins anew, and then tries again."""


@pytest.mark.parametrize("outer", ["ipv4", "ipv6"])
@pytest.mark.parametrize("programs", PAIRS)
def test_all_passes_with_a_preshared_key(programs: tuple[str, str], outer: Outer) -> None:
    with pair(programs, outer) as hosts:
        assert ping(hosts.client.host, "fd07::2", count=1).lost == 0
        assert_all_passes(hosts.client, hosts.server)
        for end, other in ((hosts.client, hosts.server), (hosts.server, hosts.client)):
            assert abs(time.time() - end.latest_handshake(other)) < 60


@pytest.mark.parametrize("programs", PAIRS)
def test_nothing_passes_with_another_preshared_key(programs: tuple[str, str]) -> None:
    with pair(programs) as hosts:
        hosts.client.set_peer(hosts.server, preshared_key=PresharedKey.generate())
        assert ping(hosts.client.host, "10.7.0.2", count=1, deadline=2).received == 0
        assert hosts.client.latest_handshake(hosts.server) == 0
        assert hosts.server.latest_handshake(hosts.client) == 0
        hosts.client.set_peer(hosts.server, preshared_key=hosts.preshared_key)
        assert answers_within(hosts, SILENCE + 15)


@pytest.mark.parametrize("programs", PAIRS)
def test_another_preshared_key_loses_no_packet(programs: tuple[str, str]) -> None:
    with pair(programs) as hosts, ThreadPoolExecutor() as threads:
        client, server = hosts.client, hosts.server
        assert answers_within(hosts, 30)
        for end in (client, server):
            end.host.run(["nft", "-f", "-"], text=NO_INITIATION)
        pings = [
            threads.submit(ping, end.host, address, count=60, interval=0.05, deadline=10)
            for end, address in ((client, "fd07::2"), (server, "10.7.0.1"))
        ]
        for _ in range(5):
            hosts.change_key()
        for answered in pings:
            assert answered.result().lost == 0
        # The next handshake, which a wireguard-go begins that knows of no other key, is with it.
        for end in (client, server):
            end.host.run(["nft", "delete", "table", "inet", "lost"])
        endpoint = server.endpoint(client)
        if programs[0] == GO:
            hosts.restart("client")
            other, address = hosts.client, "10.7.0.2"
        else:
            hosts.restart("server")
            hosts.server.set_peer(client, endpoint=endpoint)
            other, address = hosts.server, "10.7.0.1"
        assert ping(other.host, address, count=1, deadline=10).lost == 0


@pytest.mark.parametrize("programs", [*PAIRS, (OURS, OURS)])
def test_handshakes_that_cross(programs: tuple[str, str]) -> None:
    """Both begin before either has heard of it, and afterwards hear each other all the same."""
    with pair(programs) as hosts:
        client, server = hosts.client, hosts.server
        address = hosts.endpoint.rpartition(":")[0]
        # It holds an initiation until the other one is there, too.
        relay = Relay(client.host, RELAY_PORT, (address, PORT), hold=1.5)
        client.set_peer(server, endpoint=f"127.0.0.1:{RELAY_PORT}")
        assert answers_within(hosts, 60)
        for end, other in ((client, server), (server, client)):
            endpoint = end.endpoint(other)
            end.remove_peer(other)
            networks = [f"{inner}/{128 if ':' in inner else 32}" for inner in other.addresses]
            end.set_peer(other, *networks, endpoint=endpoint, preshared_key=hosts.preshared_key)
        with ExitStack() as stack:
            senders = [
                stack.enter_context(end.host.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM))
                for end in (client, server)
            ]
            for sender, inner in zip(senders, ("10.7.0.2", "10.7.0.1"), strict=True):
                sender.sendto(b"X", (inner, 9))
        assert answers_within(hosts, 60)
        assert ping(server.host, "fd07::1", count=1).lost == 0
        for end, inner in ((client, "10.7.0.2"), (server, "fd07::1")):
            assert ping(end.host, inner, count=40, interval=0.05).lost == 0
        assert relay.stop()["crossed"] > 0


def test_a_client_that_is_restarted() -> None:
    with ExitStack() as stack:
        for hosts in [stack.enter_context(pair(programs)) for programs in PAIRS]:
            assert ping(hosts.client.host, "10.7.0.2", count=1).lost == 0
            hosts.restart("client")
            assert ping(hosts.client.host, "10.7.0.2", count=1).lost == 0
            assert ping(hosts.server.host, "10.7.0.1", count=1).lost == 0


def test_a_server_that_is_restarted() -> None:
    """Its client notices by the silence: after 15 s it begins anew."""
    with ExitStack() as stack:
        both = [stack.enter_context(pair(programs)) for programs in PAIRS]
        for hosts in both:
            assert ping(hosts.client.host, "10.7.0.2", count=1).lost == 0
        for hosts in both:
            hosts.restart("server")
        for hosts in both:
            hosts.client.host.popen(["ping", "-n", "-i", "0.5", "10.7.0.2"])
        for hosts in both:
            assert answers_within(hosts, SILENCE + 15)
            assert ping(hosts.server.host, "10.7.0.1", count=3).lost == 0


def answers_within(hosts: Pair, seconds: float) -> bool:
    """Whether the client's pings are answered again within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ping(hosts.client.host, "10.7.0.2", count=1, deadline=1).received:
            return True
    return False
