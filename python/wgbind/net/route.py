"""Routes of ours, made what they should be; those of others stay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from wgbind.errors import ConflictError, NetworkError, WgbindError
from wgbind.net.netlink import (
    FAMILIES,
    OUR_PROTOCOL,
    UNSPECIFIED,
    doing,
    gone_counts_as_deleted,
    netlink,
    outside_event_loop,
)
from wgbind.net.sysctl import ipv6_enabled

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from wgbind.net.netlink import Kernel
    from wgbind.settings.address import Address, Network

# linux/rtnetlink.h
RT_TABLE_MAIN = 254
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RTN_UNREACHABLE = 7

IPV6_METRIC = 1024
"""What the kernel gives an IPv6 route that names no metric (IP6_RT_PRIO_USER, net/ip6_route.h)."""


@dataclass(frozen=True)
class Route:
    """A route.

    Attributes:
        prefix: The destinations.
        interface: Where they are reached; None makes them unreachable.
        gateway: The next hop; None for one that needs none.
        table: The routing table's number.
        metric: The lower wins among routes of one prefix; None is the kernel's own choice.
    """

    prefix: Network
    interface: str | None
    gateway: Address | None = None
    table: int = RT_TABLE_MAIN
    metric: int | None = None

    def __str__(self) -> str:
        words = [str(self.prefix)] if self.interface else ["unreachable", str(self.prefix)]
        if self.gateway is not None:
            words.append(f"via {self.gateway} dev {self.interface}")
        if self.table != RT_TABLE_MAIN:
            words.append(f"table {self.table}")
        if self.metric not in {None, self._kernels_metric}:
            words.append(f"metric {self.metric}")
        return " ".join(words)

    @property
    def _kernels_metric(self) -> int:
        return IPV6_METRIC if self.prefix.version == 6 else 0

    def canonical(self) -> Route:
        """Return it as the kernel tells it."""
        return replace(self, metric=self.metric or self._kernels_metric)


@outside_event_loop
def converge_routes(
    name: str, routes: Iterable[Route], own_tables: Container[int] = ()
) -> list[str]:
    """Set these routes, and leave no others of ours.

    Ours are those that lead into the interface `name` and all in `own_tables`, by their protocol.
    A route comes before the one that it replaces goes. Other people's routes are neither removed
    nor replaced. IPv6 is left out where the interface takes none.

    Returns what changed, a line each. Raises, after all else was done, `ConflictError` for what is
    routed elsewhere and `NetworkError` for what the kernel refuses otherwise; `NetworkError` at
    once if the interface is gone or down, and `PrivilegeError`.
    """
    takes_ipv6 = lru_cache(ipv6_enabled)
    wanted = {
        route.canonical()
        for route in routes
        if route.prefix.version == 4 or takes_ipv6(route.interface or "lo")
    }
    changes: list[str] = []
    taken: list[str] = []
    refused: list[str] = []
    with netlink(f"routes of interface {name}") as kernel:
        kernel.link("get", ifname=name)
        indexes = _indexes(kernel)
        present = {
            route
            for route in _ours(kernel, indexes)
            if route.interface == name or route.table in own_tables
        }
        for route in sorted(wanted - present, key=str):
            if route.interface not in {None, *indexes}:
                refused.append(f"route {route}: there is no interface {route.interface}")
                continue
            command = "replace" if route.table in own_tables else "add"
            try:
                _change(kernel, command, route, indexes)
            except ConflictError:
                taken.append(str(route))
            except NetworkError as error:
                refused.append(str(error))
            else:
                changes.append(f"route {route} added")
        for route in sorted(present - wanted, key=str):
            _change(kernel, "del", route, indexes)
            changes.append(f"route {route} removed")
    _raise(name, taken, refused)
    return changes


@outside_event_loop
def change_routes(name: str, come: Iterable[Route], gone: Iterable[Route]) -> list[str]:
    """Add some routes into the interface `name` and remove others, with no look at the rest.

    Returns what changed, a line each. Raises `ConflictError`, `NetworkError` and `PrivilegeError`
    at the first that is refused: `converge_routes` does the rest, and tells of all.
    """
    takes_ipv6 = lru_cache(ipv6_enabled)
    changes: list[str] = []
    with netlink(f"routes of interface {name}") as kernel:
        indexes = {name: kernel.link("get", ifname=name)[0]["index"]}
        for command, done, routes in (("add", "added", come), ("del", "removed", gone)):
            for route in sorted(map(Route.canonical, routes), key=str):
                if route.prefix.version == 4 or takes_ipv6(name):
                    _change(kernel, command, route, indexes)
                    changes.append(f"route {route} {done}")
    return changes


@outside_event_loop
def remove_routes(tables: Container[int]) -> None:
    """Remove our routes from these tables; raise `NetworkError`, `PrivilegeError`."""
    with netlink("routes") as kernel:
        indexes = _indexes(kernel)
        for route in _ours(kernel, indexes):
            if route.table in tables:
                _change(kernel, "del", route, indexes)


def _indexes(kernel: Kernel) -> dict[str, int]:
    return {link.get("IFLA_IFNAME"): link["index"] for link in kernel.get_links()}


def _raise(name: str, taken: list[str], refused: list[str]) -> None:
    if taken:
        refused = [
            f"{', '.join(taken)} is routed elsewhere already (ip route show); remove that route, "
            "give the peer another network, or set routing.table or routing.metric",
            *refused,
        ]
    if refused:
        error: type[WgbindError] = ConflictError if taken else NetworkError
        raise error(f"routes of interface {name}: {'; '.join(refused)}")


def _ours(kernel: Kernel, indexes: dict[str, int]) -> Iterator[Route]:
    names = {index: name for name, index in indexes.items()}
    for message in kernel.get_routes(proto=OUR_PROTOCOL):
        gateway = message.get("RTA_GATEWAY")
        destination = message.get("RTA_DST", UNSPECIFIED[message["family"]])
        unreachable = message["type"] == RTN_UNREACHABLE
        yield Route(
            prefix=ip_network((destination, message["dst_len"])),
            interface=None if unreachable else names.get(message.get("RTA_OIF")),
            gateway=None if gateway is None else ip_address(gateway),
            table=message.get("RTA_TABLE", message["table"]),
            metric=message.get("RTA_PRIORITY", 0),
        )


def _change(kernel: Kernel, command: str, route: Route, indexes: dict[str, int]) -> None:
    version = route.prefix.version
    fields = {"family": FAMILIES[version], "dst": str(route.prefix), "table": route.table}
    if route.interface is None:
        fields["type"] = "unreachable"
    else:
        fields["oif"] = indexes[route.interface]
        # What the kernel gives an IPv4 route; it deletes a route of the same scope only.
        on_link = version == 4 and route.gateway is None
        fields["scope"] = RT_SCOPE_LINK if on_link else RT_SCOPE_UNIVERSE
    if route.gateway is not None:
        fields["gateway"] = str(route.gateway)
    if route.metric:
        fields["priority"] = route.metric
    with doing(f"route {route}"), gone_counts_as_deleted(command):
        kernel.route(command, proto=OUR_PROTOCOL, **fields)
