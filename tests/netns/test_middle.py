"""Interfaces in hosts of their own, sockets in a third one: scenarios 1 to 5 and 7 to 9.

    one                          middle                          two
    wg ─────────────────────────── lo ─────────────────────────── wg
    192.168.241.1, fd00::1         127.0.0.1, ::1                 192.168.241.2, fd00::2
                                   ports 1 and 2

The kernel's script is tools/testing/selftests/wireguard/netns.sh; docs/security.md says which of
its scenarios is which test.
"""

import socket
from typing import Literal

import pytest

from harness import is_fast, ping
from netns.interface import Interface, assert_all_passes
from netns.middle import Middle
from wgbind.keys import PrivateKey

BIG_MTU = 34816 - 1500 + 1420
"""The kernel's script takes this one too."""

INITIATION, RESPONSE, OVERHEAD = 148, 92, 32
"""Bytes of messages, and bytes that a data message adds to its padded packet."""


def test_counters_are_those_of_the_wire(hosts: Middle) -> None:
    """Ten pings are 1372 bytes to whoever begins, and 1428 from it, or 1460 with a keepalive.

    The kernel's script looks for the same figures in the counters of the link. Those of a TUN
    device are the kernel's own and count packets before encryption: ten of 84 bytes, and what
    the host says by itself on an interface that is up.
    """
    one, two = hosts.one, hosts.two
    hosts.tell_endpoints()
    before = [_link_bytes(end) for end in (one, two)]
    assert ping(two.host, one.addresses[0], count=10, interval=0.01).lost == 0
    after = [_link_bytes(end) for end in (one, two)]
    ping_size = 96 + OVERHEAD  # 84 bytes, padded to 16
    received, sent = two.transfer(one)
    assert received == RESPONSE + 10 * ping_size == 1372
    assert sent - INITIATION - 10 * ping_size in {0, OVERHEAD}
    assert one.transfer(two) == (sent, received)
    assert one.latest_handshake(two) > 0
    assert two.latest_handshake(one) > 0
    for begin, end in zip(before, after, strict=True):
        assert all(10 * 84 <= end[way] - begin[way] < 1280 for way in ("rx", "tx"))


@pytest.mark.parametrize("mtu", [1420, BIG_MTU], ids=["mtu 1420", "big mtu"])
@pytest.mark.parametrize("outer", ["ipv4", "ipv6"])
def test_all_passes(hosts: Middle, outer: Literal["ipv4", "ipv6"], mtu: int) -> None:
    hosts.set_mtu(mtu)
    hosts.tell_endpoints(outer)
    assert_all_passes(hosts.one, hosts.two)


def test_many_transfers_at_once(hosts: Middle) -> None:
    hosts.tell_endpoints()
    one, two = hosts.one.host, hosts.two.host
    assert is_fast(one, two, hosts.two.addresses[0], 20e6, options=("-P", "50"))


@pytest.mark.parametrize(
    ("port", "inner", "target", "seen"),
    [
        (9999, "fd00::2", "127.0.0.1:2", "127.212.121.99:9999"),
        (9998, "192.168.241.2", "[::1]:2", "[::1]:9998"),
    ],
    ids=["ipv4", "ipv6"],
)
def test_roaming(hosts: Middle, port: int, inner: str, target: str, seen: str) -> None:
    """An endpoint is where the peer's last authentic message came from."""
    one, two = hosts.one, hosts.two
    hosts.tell_endpoints()
    assert ping(one.host, inner).lost == 0
    assert two.endpoint(one) == "127.0.0.1:1"
    hosts.host.ip("address", "delete", "127.0.0.1/8", "dev", "lo")
    hosts.host.ip("address", "add", "127.212.121.99/8", "dev", "lo")
    one.set("listen-port", str(port))
    one.set_peer(two, endpoint=target)
    assert ping(one.host, inner).lost == 0
    assert two.endpoint(one) == seen


def test_a_source_belongs_to_the_most_specific_owner(hosts: Middle) -> None:
    """Packets from what another peer owns are dropped; their sender roams all the same."""
    one, two = hosts.one, hosts.two
    hosts.tell_endpoints("ipv6")
    one.set_peer(two, "192.168.241.0/24", "fd00::2/128")
    assert ping(one.host, two.addresses[0]).lost == 0

    def arrives(*, expected: bool) -> bool:
        """Whether IPv4 arrives that was sent before IPv6 that does, or after it if expected."""
        receivers = [
            one.host.call(socket.socket, family, socket.SOCK_DGRAM)
            for family in (socket.AF_INET, socket.AF_INET6)
        ]
        try:
            for receiver, address in zip(receivers, one.addresses, strict=True):
                receiver.bind((address, 1111))
                family = receiver.family
                with two.host.call(socket.socket, family, socket.SOCK_DGRAM) as sender:
                    sender.sendto(b"X", (address, 1111))
            receivers[1].settimeout(60)
            assert receivers[1].recv(9) == b"X"
            receivers[0].settimeout(60 if expected else 0)
            try:
                return receivers[0].recv(9) == b"X"
            except (BlockingIOError, TimeoutError):
                return False
        finally:
            for receiver in receivers:
                receiver.close()

    assert arrives(expected=True)
    more_specific = PrivateKey.generate().public_key()
    one.set_peer(more_specific, "192.168.241.2/32")
    two.set("listen-port", "9997")
    assert not arrives(expected=False)
    assert one.endpoint(two) == "[::1]:9997"
    one.remove_peer(more_specific)
    assert arrives(expected=True)


def _link_bytes(interface: Interface) -> dict[str, int]:
    (link,) = interface.host.ip_json("-s", "link", "show", "dev", interface.name)
    return {way: int(link["stats64"][way]["bytes"]) for way in ("rx", "tx")}
