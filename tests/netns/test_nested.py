"""Tunnels in tunnels, and what leads back into itself: scenarios 11, 12, 17 and 18.

    one                                middle                                two
    inner ─── [fd00::5:1]:5                             [fd00::5:2]:5 ─── inner
                   └ outer ─────────── 127.0.0.1 ─────────── outer ┘
    192.168.241.1, fd00::1             ports 1 and 2             192.168.241.2, fd00::2

The outer pair's sockets are in the middle; those of the inner pair are in one and two and send
through the outer tunnel.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness import ping
from net.host import Host
from netns.interface import Interface, assert_all_passes, introduce, start
from netns.nat import natted


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
        assert ping(hosts.inner[0].host, "192.168.241.2", count=1, deadline=10).lost == 0
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
        assert ping(one.host, "192.168.242.2", count=1, deadline=10).lost == 0
        assert ping(one.host, "192.168.242.2").lost == 0
