"""The other interfaces of this host: its addresses there, and where the internet is behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from socket import AF_INET6
from typing import TYPE_CHECKING

from wgbind.net.netlink import FAMILIES, OUR_PROTOCOL, netlink, outside_event_loop
from wgbind.net.route import RT_TABLE_MAIN

if TYPE_CHECKING:
    from wgbind.net.netlink import Kernel
    from wgbind.settings.address import Address

RT_SCOPE_UNIVERSE = 0  # linux/rtnetlink.h


@dataclass
class Uplink:
    """One interface.

    Attributes:
        addresses: This host's own there, as far as others can reach them.
        gateways: By IP version, the next hop of its default route in the main table, the one with
            the lowest metric; None for a route that needs none.
    """

    addresses: list[Address] = field(default_factory=list)
    gateways: dict[int, Address | None] = field(default_factory=dict)


@outside_event_loop
def uplinks(tunnel: str) -> dict[str, Uplink]:
    """Read the interfaces of this host but loopback and `tunnel`, by name; raise `NetworkError`."""
    with netlink("reading addresses and routes") as kernel:
        names = {link["index"]: link.get("IFLA_IFNAME") for link in kernel.get_links()}
        found = {name: Uplink() for name in names.values() if name not in {"lo", tunnel}}
        for message in kernel.get_addr():
            uplink = found.get(names.get(message["index"], ""))
            if uplink is not None and message["scope"] == RT_SCOPE_UNIVERSE:
                address = message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")
                uplink.addresses.append(ip_address(address))
        metrics: dict[tuple[str, int], int] = {}
        for message in kernel.get_routes(table=RT_TABLE_MAIN):
            if message["dst_len"] != 0 or message["family"] not in FAMILIES.values():
                continue
            if message["proto"] == OUR_PROTOCOL:
                continue
            version = 6 if message["family"] == AF_INET6 else 4
            metric = message.get("RTA_PRIORITY", 0)
            for index, gateway in _hops(message):
                name = names.get(index, "")
                if name in found and metric < metrics.get((name, version), metric + 1):
                    metrics[name, version] = metric
                    found[name].gateways[version] = gateway
    return found


def _hops(message: Kernel) -> list[tuple[int, Address | None]]:
    """The interfaces of a route with their gateways; several if it has several ways."""
    hops = message.get("RTA_MULTIPATH")
    if not hops:
        return [(message.get("RTA_OIF"), _gateway(message))]
    return [(hop["oif"], _gateway(hop)) for hop in hops]


def _gateway(hop: Kernel) -> Address | None:
    gateway = hop.get("RTA_GATEWAY")
    if gateway is None:  # an IPv4 route may lead to an IPv6 neighbour (RTA_VIA)
        return None
    return ip_address(gateway)
