"""What this host's own networks are, so that the tunnel's can be chosen beside them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from wgbind.net.netlink import OUR_PROTOCOL, UNSPECIFIED, netlink, outside_event_loop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wgbind.net.netlink import Kernel
    from wgbind.settings.address import Address, Network

RESOLV_CONF = Path("/etc/resolv.conf")
RESOLVED_CONF = Path("/run/systemd/resolve/resolv.conf")
"""The name servers behind systemd-resolved's stub at 127.0.0.53 (systemd-resolved(8))."""

INTERNET = ("1.1.1.1", "2606:4700:4700::1111")
"""Destinations of routing lookups; nothing is sent to them."""

# linux/rtnetlink.h
RTN_UNICAST = 1
RTN_WITH_DESTINATION = frozenset({RTN_UNICAST, 6, 7, 8})  # and blackhole, unreachable, prohibit
RT_TABLE_LOCAL = 255


@dataclass(frozen=True)
class HostView:
    """A host's networks at one moment.

    Attributes:
        networks: Every on-link prefix and route destination except default routes.
        egress: Names of the interfaces of the default routes, IPv4's first, the preferred first.
        addresses: The source addresses towards the internet, IPv4's first, those that exist.
        resolvers: The name servers of resolv.conf that another host can ask too.
    """

    networks: tuple[Network, ...]
    egress: tuple[str, ...]
    addresses: tuple[Address, ...]
    resolvers: tuple[Address, ...]


@dataclass(frozen=True)
class _Route:
    network: Network
    interfaces: tuple[int, ...]
    metric: int

    @property
    def default(self) -> bool:
        # A VPN client takes all traffic by two routes of length 1, to leave the default as it is.
        return self.network.prefixlen <= 1


@outside_event_loop
def host_view(fwmark: int = 0) -> HostView:
    """Read this host's networks, as packets with that firewall mark find them.

    Raises `NetworkError`.
    """
    with netlink("reading addresses and routes") as kernel:
        names = {link["index"]: link.get("IFLA_IFNAME") for link in kernel.get_links()}
        networks = set(_on_link(kernel.get_addr()))
        routes = list(_routes(kernel.get_routes()))
        addresses = tuple(_sources(kernel, fwmark))
    networks.update(route.network for route in routes if not route.default)
    # Dictionaries keep order; the longest prefix and the lowest metric win in the kernel, too.
    egress = dict.fromkeys(
        names[index]
        for route in sorted(
            (route for route in routes if route.default),
            key=lambda route: (route.network.version, -route.network.prefixlen, route.metric),
        )
        for index in route.interfaces
        if index in names
    )
    return HostView(
        networks=tuple(sorted(networks, key=lambda network: (network.version, network))),
        egress=tuple(egress),
        addresses=addresses,
        resolvers=resolvers(RESOLV_CONF) or resolvers(RESOLVED_CONF),
    )


def resolvers(resolv_conf: Path) -> tuple[Address, ...]:
    """Return the name servers of a resolv.conf(5) that are of use to other hosts, in order.

    Those are neither loopback nor link-local. A missing file or a broken line counts as none.
    """
    try:
        lines = resolv_conf.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    found: dict[Address, None] = {}
    for words in map(str.split, lines):
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            address = ip_address(words[1])
        except ValueError:
            continue
        if not (address.is_loopback or address.is_link_local or address.is_unspecified):
            found[address] = None
    return tuple(found)


def _on_link(messages: Iterable[Kernel]) -> Iterator[Network]:
    for message in messages:
        # On a point-to-point link IFA_ADDRESS is the far end and IFA_LOCAL our own.
        for address in {message.get("IFA_ADDRESS"), message.get("IFA_LOCAL")} - {None}:
            yield ip_network((address, message["prefixlen"]), strict=False)


def _routes(messages: Iterable[Kernel]) -> Iterator[_Route]:
    for message in messages:
        table = message.get("RTA_TABLE", message["table"])
        unspecified = UNSPECIFIED.get(message["family"])
        if (
            unspecified is None
            or table == RT_TABLE_LOCAL
            or message["type"] not in RTN_WITH_DESTINATION
        ):
            continue
        if message["dst_len"] == 0 and message["proto"] == OUR_PROTOCOL:
            continue  # a server's way for some traffic: not this host's
        destination = message.get("RTA_DST", unspecified)
        hops = message.get("RTA_MULTIPATH") or []
        oif = message.get("RTA_OIF")
        yield _Route(
            ip_network((destination, message["dst_len"]), strict=False),
            tuple(hop["oif"] for hop in hops) if oif is None else (oif,),
            message.get("RTA_PRIORITY", 0),
        )


def _sources(kernel: Kernel, fwmark: int) -> Iterator[Address]:
    from pyroute2.netlink.exceptions import NetlinkError

    for destination in INTERNET:
        try:
            answers = kernel.route("get", dst=destination, mark=fwmark or None)
        except NetlinkError:
            continue  # no route to there
        for answer in answers:
            source = answer.get("RTA_PREFSRC")
            if source is not None and answer["type"] == RTN_UNICAST:
                yield ip_address(source)
