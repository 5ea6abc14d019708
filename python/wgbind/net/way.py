"""Which way this host sends a packet: what `ip route get` says."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from socket import if_indextoname, if_nametoindex
from typing import TYPE_CHECKING

from wgbind.net.netlink import netlink, outside_event_loop

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wgbind.net.netlink import Kernel
    from wgbind.settings.address import Address

# linux/rtnetlink.h
RTN_UNICAST, RTN_LOCAL = 1, 2

# What the kernel says where no route leads, or one that leads nowhere (net/ipv4/route.c).
_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES}


@dataclass(frozen=True)
class Way:
    """To this host itself, or out of an interface."""

    local: bool
    interface: str


@outside_event_loop
def way_to(
    destination: Address,
    source: Address | None = None,
    interface: str | None = None,
    mark: int = 0,
) -> Way | None:
    """Look up the way of a packet to `destination`; None if there is none.

    With `source` and `interface` it is one that came in there, unless there is no such interface,
    or the kernel would not take that source there; else it is one of this host's own. `mark` is its
    firewall mark. Raises `NetworkError`.
    """
    from pyroute2.netlink.exceptions import NetlinkError

    own: dict[str, object] = {"dst": str(destination), "mark": mark or None}
    came_in = _came_in(source, interface)
    with netlink("route") as kernel:
        for packet in ({**own, **came_in}, own) if came_in else (own,):
            try:
                return _way(kernel.route("get", **packet))
            except NetlinkError as error:  # noqa: PERF203  two rounds at most
                if error.code in _NO_WAY:
                    return None
    return None


def _way(answers: Iterable[Kernel]) -> Way | None:
    for answer in answers:
        if answer["type"] == RTN_LOCAL:
            return Way(local=True, interface="")
        if answer["type"] == RTN_UNICAST and answer.get("RTA_OIF"):
            return Way(local=False, interface=if_indextoname(answer.get("RTA_OIF")))
    return None


def _came_in(source: Address | None, interface: str | None) -> dict[str, object]:
    if source is None or interface is None:
        return {}
    try:
        return {"src": str(source), "iif": if_nametoindex(interface)}
    except OSError:
        return {}
