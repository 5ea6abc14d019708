"""Which way this host sends a packet: what `ip route get` says."""

from __future__ import annotations

from dataclasses import dataclass
from socket import if_indextoname, if_nametoindex
from typing import TYPE_CHECKING

from wgbind.net.netlink import netlink, outside_event_loop

if TYPE_CHECKING:
    from wgbind.settings.address import Address

# linux/rtnetlink.h
RTN_UNICAST, RTN_LOCAL = 1, 2


@dataclass(frozen=True)
class Way:
    """To this host itself, or out of an interface."""

    local: bool
    interface: str


@outside_event_loop
def way_to(
    destination: Address, source: Address | None = None, interface: str | None = None
) -> Way | None:
    """Look up the way of a packet to `destination`; None if there is none.

    With `source` and `interface` it is one that came in there; if that interface does not exist,
    or the kernel would not take such a packet there, one of this host's own. Raises `NetworkError`.
    """
    from pyroute2.netlink.exceptions import NetlinkError

    came: dict[str, object] = {}
    if source is not None and interface is not None:
        try:
            came = {"src": str(source), "iif": if_nametoindex(interface)}
        except OSError:
            source = None
    with netlink("route") as kernel:
        for arguments in (came, {}) if came else ({},):
            try:
                answers = list(kernel.route("get", dst=str(destination), **arguments))
            except NetlinkError:
                continue
            for answer in answers:
                if answer["type"] == RTN_LOCAL:
                    return Way(local=True, interface="")
                if answer["type"] == RTN_UNICAST and answer.get("RTA_OIF"):
                    return Way(local=False, interface=if_indextoname(answer.get("RTA_OIF")))
    return None
