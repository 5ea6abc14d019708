"""Tunnels in tunnels, and what leads back into itself: scenarios 11, 17 and 18.

    one                                middle                                two
    inner ─── [fd00::5:1]:5                             [fd00::5:2]:5 ─── inner
                   └ outer ─────────── 127.0.0.1 ─────────── outer ┘
    192.168.241.1, fd00::1             ports 1 and 2             192.168.241.2, fd00::2

The outer pair's sockets are in the middle; those of the inner pair are in one and two and send
through the outer tunnel.

In scenario 12 two interfaces lead into each other. What comes to a TUN device says nothing of the
socket that it left, so that two programs cannot see that what they send each other is their own;
docs/security.md tells what happens then. A loop within one interface is seen, and cut.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness import Namespace, ping
from net.host import Host
from netns.interface import Interface, assert_all_passes, introduce, start
from netns.nat import natted

GROWTH = 70_000
"""Bytes that a loop may add in a second; the kernel's script takes this number."""


@dataclass(frozen=True)
class Nested:
    """The hosts of the picture: interfaces as (one, two)."""

    middle: Host
    outer: tuple[Interface, Interface]
    inner: tuple[Interface, Interface]


@contextmanager
def nested() -> Iterator[Nested]:
    """Build them."""
    with ExitStack() as stack:
        host, left, right = (stack.enter_context(Host(role)) for role in ("middle", "one", "two"))
        outer = start(host, port=1), start(host, port=2)
        for number, (end, to) in enumerate(zip(outer, (left, right), strict=True), 1):
            end.move(to)
            end.up(f"fd00::5:{number}/112")
        introduce(*outer)
        outer[0].set_peer(outer[1], endpoint="127.0.0.1:2")
        inner = start(left, port=5), start(right, port=5)
        for number, end in enumerate(inner, 1):
            end.up(f"192.168.241.{number}/24", f"fd00::{number}/112", mtu=1340)
        introduce(*inner)
        inner[0].set_peer(inner[1], endpoint="[fd00::5:2]:5")
        inner[1].set_peer(inner[0], endpoint="[fd00::5:1]:5")
        yield Nested(host, outer, inner)


def test_a_tunnel_in_a_tunnel() -> None:
    with nested() as hosts:
        # First whoever knows the outer endpoint.
        assert ping(hosts.inner[0].host, "192.168.241.2", count=1).lost == 0
        assert_all_passes(*hosts.inner)


def test_onion_routes() -> None:
    """A peer that is reached through the tunnel itself; the hosts are those of test_nat.py.

    one                                                  two
    wg ══════════════════ NAT ══════════════════ wg
      └───── 192.168.242.1 ── in it ── 192.168.242.2 ───── another wg, port 5
    """
    with natted() as hosts:
        one, two = hosts.one, hosts.two
        third = start(two.host, port=5)
        third.up("192.168.242.2/24")
        one.up("192.168.242.1/24")
        third.set_peer(one, "192.168.242.1/32")
        one.set_peer(third, "192.168.242.2/32", endpoint="192.168.241.2:5")
        assert ping(one.host, "192.168.242.2", count=1).lost == 0
        assert ping(one.host, "192.168.242.2").lost == 0

        # And now one that loops: its endpoint is inside itself.
        third.process.terminate()
        assert third.process.wait(60) == 0
        one.set_peer(third, endpoint="192.168.242.2:5")
        _, before = one.transfer(third)
        assert ping(one.host, "192.168.242.2", count=10, interval=0.01, deadline=1).received == 0
        assert_bounded(one, third, before)
        assert ping(one.host, "192.168.241.2", count=1).lost == 0

        # And one that loops by another peer: each endpoint is inside the other.
        one.set_peer(third, endpoint="192.168.241.2:5")
        one.set_peer(two, endpoint="192.168.242.2:2")
        _, before = one.transfer(third)
        assert ping(one.host, "192.168.242.2", count=10, interval=0.01, deadline=1).received == 0
        assert_bounded(one, third, before)


def assert_bounded(interface: Interface, peer: Interface, before: int) -> None:
    """Assert that what goes round stays little for a second, and that the host is not busy."""
    time.sleep(1)  # this second is what the loop is judged by
    _, after = interface.transfer(peer)
    assert after - before < GROWTH
    assert is_quiet(interface.host)


def is_quiet(host: Namespace) -> bool:
    """Whether no more packets leave a host than timers send: those of a second are few."""
    return _packets(host, 1.0) < 100


def _packets(host: Namespace, seconds: float) -> int:
    counts = []
    for _ in range(2):
        links = host.ip_json("-s", "link")
        counts.append(sum(link["stats64"]["tx"]["packets"] for link in links))
        time.sleep(seconds)
    return int(counts[1] - counts[0])
