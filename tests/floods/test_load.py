"""Who knows the server's public key, or even has a key that it knows, still gets little out of it.

friend ─────────── server ─────────── enemy
"""

import base64
import signal
import socket
import struct
import time
from contextlib import ExitStack
from itertools import cycle
from threading import Thread

import pytest

from floods.messages import Initiator, junk
from floods.siege import Attack, Siege, datagram, random_source, siege
from harness import PORT, Host, Namespace, count_packets, interface_name, ping, start_end, veth
from harness.names import CONTROL_SOCKETS
from wgbind.keys import PrivateKey, PublicKey

RATE = 20_000
"""Datagrams a second, as far as the machine keeps up."""

ENOUGH = 16_384
"""As many initiations as the server lets wait, before which it asks for cookies."""

HEADERS = 20 + 8
COOKIE_REPLY, RESPONSE, INITIATION = 64 + HEADERS, 92 + HEADERS, 148 + HEADERS
"""Bytes of packets."""

COOKIES = 10_500
"""Cookie replies in a second: 5,000 to those who ask first, as many to others, and 500 more."""

GROWTH = 32 << 20
"""Bytes by which a flood may make the server grow: 16,384 initiations wait at most."""

SO_TIMESTAMPNS = 35
"""socket(7); Python has no name for it."""


def test_right_mac1_from_random_sources(hosts: Siege) -> None:
    besiege(hosts)


def test_right_mac1_from_random_sources_to_several_workers() -> None:
    with siege(workers=3) as hosts:
        besiege(hosts)


def besiege(hosts: Siege) -> None:
    """Let a flood from everywhere make the server ask for cookies, no more than it has for all.

    Whoever has a session keeps it, and a newcomer that answers its cookie gets in meanwhile.
    """
    start = time.monotonic()
    target, key = hosts.wall.ipv4, hosts.server.public_key()
    before = hosts.resident()
    with ExitStack() as stack:
        cookies, others = (
            stack.enter_context(count_packets(hosts.enemy, f"udp sport {PORT} {match}"))
            for match in (
                f"meta length {COOKIE_REPLY}",
                f"meta length != {COOKIE_REPLY}",
            )
        )
        sock = stack.enter_context(hosts.raw_socket())
        newcomer = stack.enter_context(Namespace("newcomer"))

        initiations = cycle([junk(1, key) for _ in range(1_000)])

        def send() -> None:
            # Never from the same place twice, as clients do who were not answered.
            sock.sendto(datagram(random_source(), target, next(initiations)), (target, 0))

        with Attack(send, RATE) as attack:
            deadline = time.monotonic() + 60
            while cookies() == 0:
                assert time.monotonic() < deadline
                # Whoever is stopped finds them all at once, however slow the machine is.
                hosts.server.process.send_signal(signal.SIGSTOP)
                attack.reach(attack.sent + ENOUGH)
                hosts.server.process.send_signal(signal.SIGCONT)
            assert hosts.goes_on()
            assert joins(hosts, newcomer)
            assert hosts.goes_on()
            grown = hosts.resident() - before
        assert 0 < cookies() <= min(attack.sent, (time.monotonic() - start + 1) * COOKIES)
        assert others() == 0
        assert grown < GROWTH
    assert ping(hosts.friend.namespace, hosts.server.inner.ipv4).lost == 0


def test_a_flood_is_the_porter_s_alone(hosts: Siege) -> None:
    """The threads that move data neither read nor check what everybody sends."""
    target, key = hosts.wall.ipv4, hosts.server.public_key()
    packets = cycle([datagram(random_source(), target, junk(1, key)) for _ in range(1_000)])
    worker, porter = hosts.cpu("worker"), hosts.cpu("porter")
    with (
        hosts.raw_socket() as sock,
        Attack(lambda: sock.sendto(next(packets), (target, 0)), RATE) as attack,
    ):
        attack.reach(ENOUGH)
        worker, porter = hosts.cpu("worker") - worker, hosts.cpu("porter") - porter
    assert worker < porter / 4


def joins(hosts: Siege, newcomer: Namespace) -> bool:
    """Whether a new peer on a link of its own gets an answer in time."""
    addresses = (["198.19.255.2/30"], ["198.19.255.1/30"])
    veth(newcomer, hosts.host, ("uplink", interface_name()), addresses)
    end = start_end(newcomer, "wgbind-device", Host("10.7.0.3", "fd07::3"))
    hosts.server.add_peer(end.public_key(), "10.7.0.3/32")
    end.add_peer(hosts.server.public_key(), "10.7.0.2/32", endpoint=f"198.19.255.1:{PORT}")
    # Its first or second initiation is answered with a cookie, the next one, after 5 s, carries it.
    return any(ping(newcomer, "10.7.0.2", count=1, deadline=3).received for _ in range(20))


def test_a_peer_that_begins_without_end() -> None:
    """Of a known peer's initiations 50 a second are answered; others' sessions go on."""
    with siege() as hosts, hosts.connection() as sock:
        private = PrivateKey.generate()
        hosts.server.add_peer(str(private.public_key()), "10.7.0.66/32")
        enemy = Initiator(private.reveal(), hosts.server.public_key())
        before = hosts.resident()
        with (
            count_packets(hosts.enemy, f"udp sport {PORT}") as answers,
            count_packets(hosts.enemy, f"udp sport {PORT} meta length >= {INITIATION}") as larger,
        ):
            start = time.monotonic()
            with Attack(lambda: sock.send(enemy.initiation()), 500) as attack:
                attack.reach(1000)
                assert ping(hosts.friend.namespace, hosts.server.inner.ipv4).lost == 0
            # The last one may be on its way.
            assert 0 < answers() <= (time.monotonic() - start) * 50 + 2
            assert larger() == 0
        assert hosts.resident() - before < GROWTH


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_removed_peer_is_gone_when_the_call_returns(family: str) -> None:
    """No packet of a peer comes out of the interface after `remove` was answered."""
    with siege() as hosts:
        address = getattr(hosts.server.inner, family)
        kind = socket.AF_INET6 if family == "ipv6" else socket.AF_INET
        with (
            hosts.host.call(socket.socket, kind, socket.SOCK_DGRAM) as receiver,
            hosts.near.call(socket.socket, kind, socket.SOCK_DGRAM) as sender,
        ):
            receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            receiver.bind((address, 4000))
            receiver.settimeout(0.2)
            stamps: list[int] = []

            def collect() -> None:
                while True:
                    try:
                        _, about, *_ = receiver.recvmsg(64, 64)
                    except TimeoutError:
                        if over:
                            return
                        continue
                    ((_, _, data),) = about
                    seconds, nanoseconds = struct.unpack("@ll", data)
                    stamps.append(seconds * 10**9 + nanoseconds)

            over: list[int] = []
            collector = Thread(target=collect)
            collector.start()
            with Attack(lambda: sender.sendto(b"X", (address, 4000)), 5_000) as stream:
                stream.reach(1_000)
                gone = remove(hosts.server.interface, PublicKey(hosts.friend.public_key()))
                stream.reach(stream.sent + 1_000)
            over.append(1)
            collector.join()
        assert len(stamps) > 500
        assert [stamp - gone for stamp in stamps if stamp > gone] == []


def remove(interface: str, peer: PublicKey) -> int:
    """Take a peer away over the control socket; return when that was answered, in ns of Unix."""
    key = base64.b64decode(str(peer)).hex()
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(10)
        control.connect(str(CONTROL_SOCKETS / f"{interface}.sock"))
        control.sendall(f"set=1\npublic_key={key}\nremove=true\n\n".encode())
        answer = control.recv(64)
        gone = time.time_ns()
    assert answer == b"errno=0\n\n"
    return gone
