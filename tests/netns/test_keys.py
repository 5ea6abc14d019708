"""Keys that change, that are taken away, and that are nobody's: scenarios 10 and 30 to 34.

    one                          middle                          two
    wg ─────────────────────────── lo ─────────────────────────── wg
    192.168.241.1, fd00::1         127.0.0.1, ::1                 192.168.241.2, fd00::2
                                   ports 1 and 2

and a host with one interface and nobody else.
"""

import socket
import time
from collections.abc import Iterator

import pytest

from harness import count_packets, ping
from net.host import Host
from netns.interface import Interface, start
from netns.middle import Middle
from wgbind.keys import PresharedKey, PrivateKey, PublicKey

LOW_ORDER_POINTS = [
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=",
    "X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=",
    "7P///////////////////////////////////////38=",
    "7f///////////////////////////////////////38=",
    "7v///////////////////////////////////////38=",
]
"""Those of Curve25519 (https://cr.yp.to/ecdh.html#validate)."""


@pytest.fixture
def alone() -> Iterator[Interface]:
    """An interface on a host without neighbours."""
    with Host("alone") as host:
        yield start(host, port=1)


def test_a_new_private_key_shakes_hands_at_once(hosts: Middle) -> None:
    one, two = hosts.one, hosts.two
    hosts.tell_endpoints()
    assert ping(one.host, two.addresses[0], count=1).lost == 0
    before = one.public_key()
    one.set_key(PrivateKey.generate())
    two.set_peer(one, f"{one.addresses[0]}/32", preshared_key=hosts.preshared_key)
    two.remove_peer(before)
    # One request is enough: it waits for the handshake, and nobody for a timer of the old session.
    assert ping(one.host, two.addresses[0], count=1, deadline=4).lost == 0
    assert two.show("peers") == str(one.public_key())


def test_keys_are_set_read_and_cleared(alone: Interface) -> None:
    peer, preshared_key = PrivateKey.generate().public_key(), PresharedKey.generate()
    alone.set_peer(peer, preshared_key=preshared_key)
    assert alone.show("private-key") == alone.key.reveal()
    assert alone.show("preshared-keys") == f"{peer}\t{preshared_key.reveal()}"
    alone.set("private-key", "/dev/null", "peer", str(peer), "preshared-key", "/dev/null")
    assert alone.show("private-key") == "(none)"
    assert alone.show("public-key") == "(none)"
    assert alone.show("preshared-keys") == f"{peer}\t(none)"


def test_nobody_is_a_peer_of_itself(alone: Interface) -> None:
    other = PrivateKey.generate()
    alone.set_peer(other.public_key())
    first = alone.key
    alone.set_key(other)  # that peer is ourselves now
    assert alone.show("public-key") == str(other.public_key())
    assert alone.show("peers") == ""
    alone.set_peer(other.public_key())
    assert alone.show("peers") == ""
    alone.set_key(first)
    alone.set_peer(other.public_key())
    assert alone.show("peers") == str(other.public_key())


def test_a_private_key_is_clamped(alone: Interface) -> None:
    """RFC 7748, section 5: the three lowest bits of the first byte are cleared, among others."""
    text = alone.key.reveal()
    alone.set("private-key", "/dev/stdin", text="/" + text[1:])
    assert alone.show("private-key") == "+" + text[1:]


def test_peers_with_keys_of_low_order_are_sent_nothing(alone: Interface) -> None:
    """With such a key every exchange gives zeros: who uses it talks to everybody."""
    alone.up("192.168.241.1/24")
    with (
        count_packets(alone.host, "udp dport 1111") as sent,
        count_packets(alone.host, "udp dport 1112") as sent_to_another,
    ):
        for number, point in enumerate(LOW_ORDER_POINTS):
            key = PublicKey(point)
            assert key.low_order
            allowed_ips = f"192.168.241.{100 + number}/32"
            alone.set_peer(key, allowed_ips, endpoint="127.0.0.1:1111", keepalive=1)
        assert len(alone.show("peers").splitlines()) == len(LOW_ORDER_POINTS)
        # A peer with another key, whose second initiation is due after those of all others.
        alone.set_peer(
            PrivateKey.generate().public_key(),
            "192.168.241.200/32",
            endpoint="127.0.0.1:1112",
            keepalive=1,
        )
        with alone.host.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in (*range(100, 100 + len(LOW_ORDER_POINTS)), 200):
                sender.sendto(b"X", (f"192.168.241.{number}", 9))
        deadline = time.monotonic() + 60
        while sent_to_another() < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert sent() == 0
