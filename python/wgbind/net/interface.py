"""The tunnel interface's addresses, MTU, link state and routes, made what they should be.

The interface itself belongs to the device that created it; its state here ends with it.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from ipaddress import ip_interface, ip_network
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING

from wgbind.errors import ConflictError, InputError
from wgbind.net.netlink import doing, netlink, outside_event_loop
from wgbind.net.sysctl import ipv6_enabled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wgbind.net.netlink import Kernel
    from wgbind.settings.address import InterfaceAddress, Network

ROUTE_PROTOCOL = 87
"""Marks the routes that are ours (`ip route show proto 87`).

From the numbers that rtnetlink.h leaves to programs; 87 is "W", and nobody's in iproute2's list.
"""

# linux/if.h, linux/if_addr.h, linux/rtnetlink.h
IFF_UP = 0x1
IFA_F_NODAD = 0x2
RT_TABLE_MAIN = 254
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253

NO_LINK_LOCAL = {
    "attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]})],  # IN6_ADDR_GEN_MODE_NONE
}
"""Without such an address the kernel looks for no routers in the tunnel, nor joins groups there.

It is what the kernel's WireGuard does (drivers/net/wireguard/device.c, wg_open).
"""

FAMILIES = {4: AF_INET, 6: AF_INET6}
# What the kernel gives an IPv4 route without a gateway; it deletes a route of the same scope only.
SCOPES = {4: RT_SCOPE_LINK, 6: RT_SCOPE_UNIVERSE}


@outside_event_loop
def converge_interface(name: str, addresses: Iterable[InterfaceAddress], mtu: int) -> list[str]:
    """Give the interface these addresses and no others, this MTU in bytes, and set it up.

    What is right already is not touched. IPv6 addresses are left out where `ipv6_enabled` says
    that the interface takes none.

    Returns what changed, a line each. Raises `NetworkError`, also if the interface is gone, and
    `PrivilegeError`.
    """
    wanted = [address for address in addresses if address.version == 4 or ipv6_enabled(name)]
    changes = []
    with netlink(f"interface {name}") as kernel:
        link = _link(kernel, name)
        index, old_mtu = link["index"], link.get("IFLA_MTU")
        if old_mtu != mtu:
            with doing(f"interface {name}: MTU {mtu}"):
                kernel.link("set", index=index, mtu=mtu)
            changes.append(f"MTU {mtu} instead of {old_mtu}")
        for address in _addresses(kernel, index).difference(wanted):
            _change_address(kernel, "del", index, address)
            changes.append(f"address {address} removed")
        # Read again: with its first address of a network, IPv4 may drop the others (ip(7)).
        present = _addresses(kernel, index)
        for address in wanted:
            if address not in present:
                _change_address(kernel, "add", index, address)
                changes.append(f"address {address} added")
        if not link["flags"] & IFF_UP:
            if ipv6_enabled(name):
                kernel.link("set", index=index, IFLA_AF_SPEC=NO_LINK_LOCAL)
            kernel.link("set", index=index, state="up")
            changes.append("link up")
    return changes


@outside_event_loop
def converge_routes(name: str, prefixes: Iterable[Network]) -> list[str]:
    """Route these prefixes into the interface, and no others by routes of ours.

    Prefixes inside the interface's own networks need no route and get none. Other people's routes
    are neither removed nor replaced. IPv6 is left out where the interface takes none.

    Returns what changed, a line each. Raises `InputError` for a default route, which would carry
    the tunnel's own datagrams, `ConflictError` for a prefix that is routed elsewhere (after all
    others were routed), `NetworkError` if the interface is gone or down, and `PrivilegeError`.
    """
    wanted = set(prefixes)
    for prefix in wanted:
        if prefix.prefixlen == 0:
            raise InputError(
                f"{prefix} behind a peer: a default route into {name} would swallow the tunnel's "
                "own datagrams; name the networks that are there"
            )
    changes, taken = [], []
    with netlink(f"routes of interface {name}") as kernel:
        index = _link(kernel, name)["index"]
        own = [address.network for address in _addresses(kernel, index)]
        wanted = {
            prefix
            for prefix in wanted
            if (prefix.version == 4 or ipv6_enabled(name))
            and not any(_within(prefix, network) for network in own)
        }
        present = _routes(kernel, index)
        for prefix in sorted(present - wanted, key=str):
            _change_route(kernel, "del", index, prefix)
            changes.append(f"route {prefix} removed")
        for prefix in sorted(wanted - present, key=str):
            if _add_route(kernel, index, prefix):
                changes.append(f"route {prefix} added")
            else:
                taken.append(str(prefix))
    if taken:
        raise ConflictError(
            f"routes of interface {name}: {', '.join(taken)} is routed elsewhere already "
            "(ip route show); remove that route or give the peer another network"
        )
    return changes


def _link(kernel: Kernel, name: str) -> Kernel:
    return kernel.link("get", ifname=name)[0]


def _addresses(kernel: Kernel, index: int) -> set[InterfaceAddress]:
    return {
        ip_interface((message.get("IFA_LOCAL") or message.get("IFA_ADDRESS"), message["prefixlen"]))
        for message in kernel.get_addr(index=index)
    }


def _change_address(kernel: Kernel, command: str, index: int, address: InterfaceAddress) -> None:
    # Nobody else is on the link: without NODAD the address could not be used for a second.
    flags = {"flags": IFA_F_NODAD} if address.version == 6 and command == "add" else {}
    with doing(f"address {address}"), _gone_counts_as_deleted(command):
        kernel.addr(
            command,
            index=index,
            family=FAMILIES[address.version],
            address=str(address.ip),
            prefixlen=address.network.prefixlen,
            **flags,
        )


def _routes(kernel: Kernel, index: int) -> set[Network]:
    messages = kernel.get_routes(table=RT_TABLE_MAIN, oif=index, proto=ROUTE_PROTOCOL)
    return {ip_network((message.get("RTA_DST"), message["dst_len"])) for message in messages}


def _add_route(kernel: Kernel, index: int, prefix: Network) -> bool:
    try:
        _change_route(kernel, "add", index, prefix)
    except ConflictError:
        return False
    return True


def _change_route(kernel: Kernel, command: str, index: int, prefix: Network) -> None:
    with doing(f"route {prefix}"), _gone_counts_as_deleted(command):
        kernel.route(
            command,
            family=FAMILIES[prefix.version],
            dst=str(prefix),
            oif=index,
            table=RT_TABLE_MAIN,
            proto=ROUTE_PROTOCOL,
            scope=SCOPES[prefix.version],
        )


@contextmanager
def _gone_counts_as_deleted(command: str) -> Iterator[None]:
    """Bear that the kernel itself took away what is to be deleted, with something else."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        if command != "del" or error.code not in {errno.EADDRNOTAVAIL, errno.ESRCH}:
            raise


def _within(prefix: Network, network: Network) -> bool:
    return prefix.version == network.version and prefix.subnet_of(network)  # type: ignore[arg-type]
