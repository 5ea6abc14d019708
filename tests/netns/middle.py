"""Two interfaces whose sockets are in a third host: how a tunnel is given to a container.

    one                          middle                          two
    wg ─────────────────────────── lo ─────────────────────────── wg
    192.168.241.1, fd00::1         127.0.0.1, ::1                 192.168.241.2, fd00::2
                                   ports 1 and 2

Both interfaces are made in the middle, where their programs run, and then moved.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from net.host import Host
from netns.interface import Interface, introduce, start
from wgbind.keys import PresharedKey

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = {"ipv4": "127.0.0.1", "ipv6": "[::1]"}


@dataclass(frozen=True)
class Middle:
    """The hosts of the picture.

    Attributes:
        host: The one in the middle.
        one: The interface on the left, with port 1.
        two: The interface on the right, with port 2.
        preshared_key: Of both.
    """

    host: Host
    one: Interface
    two: Interface
    preshared_key: PresharedKey

    def tell_endpoints(self, outer: Literal["ipv4", "ipv6"] = "ipv4") -> None:
        """Let both know where the other is."""
        address = LOOPBACK[outer]
        self.one.set_peer(self.two, endpoint=f"{address}:2")
        self.two.set_peer(self.one, endpoint=f"{address}:1")

    def set_mtu(self, mtu: int) -> None:
        """Give both interfaces an MTU."""
        for end in (self.one, self.two):
            end.host.ip("link", "set", end.name, "mtu", str(mtu))


@contextmanager
def middle() -> Iterator[Middle]:
    """Build the hosts of the picture; nobody knows an endpoint yet."""
    with ExitStack() as stack:
        host, left, right = (stack.enter_context(Host(role)) for role in ("middle", "one", "two"))
        one, two = start(host, port=1), start(host, port=2)
        for end, to, number in ((one, left, 1), (two, right, 2)):
            end.move(to)
            end.up(f"192.168.241.{number}/24", f"fd00::{number}/112")
        preshared_key = PresharedKey.generate()
        introduce(one, two, preshared_key)
        yield Middle(host, one, two, preshared_key)
