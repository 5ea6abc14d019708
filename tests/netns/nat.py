"""A peer behind NAT.

    one                            middle                          two
    wg ── vethc ──────── vethrc ── router ── vethrs ──────── veths ── wg
          192.168.1.100  192.168.1.1         10.0.0.1        10.0.0.100
                                             SNAT of 192.168.1.0/24
    192.168.241.1, fd00::1                                   192.168.241.2, fd00::2

Both programs run where their interfaces are.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import veth
from net.host import Host
from netns.interface import Interface, introduce, start

if TYPE_CHECKING:
    from collections.abc import Iterator

UDP_TIMEOUT = 3
"""Seconds after which the router forgets a flow of UDP."""

NAT = "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; };"
"""What the rules of NAT in the table `ip nat` stand on."""


@dataclass(frozen=True)
class Natted:
    """The hosts of the picture."""

    router: Host
    one: Interface
    two: Interface


@contextmanager
def natted() -> Iterator[Natted]:
    """Build them; one knows two's endpoint and has not spoken."""
    with ExitStack() as stack:
        left, router, right = (stack.enter_context(Host(role)) for role in ("one", "nat", "two"))
        veth(left, router, ("vethc", "vethrc"), (("192.168.1.100/24",), ("192.168.1.1/24",)))
        veth(router, right, ("vethrs", "veths"), (("10.0.0.1/24",), ("10.0.0.100/24",)))
        left.ip("route", "add", "default", "via", "192.168.1.1")
        router.sysctl("net.ipv4.ip_forward", "1")
        snat = "add rule ip nat post ip saddr 192.168.1.0/24 ip daddr 10.0.0.0/24 snat to 10.0.0.1"
        router.run(["nft", NAT + snat])
        for key in ("udp_timeout", "udp_timeout_stream"):
            router.sysctl(f"net.netfilter.nf_conntrack_{key}", str(UDP_TIMEOUT))
        one, two = start(left, port=1), start(right, port=2)
        one.up("192.168.241.1/24", "fd00::1/112")
        two.up("192.168.241.2/24", "fd00::2/112")
        introduce(one, two)
        one.set_peer(two, endpoint="10.0.0.100:2")
        yield Natted(router, one, two)
