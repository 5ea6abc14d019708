"""The tunnel interface's addresses, MTU and link state, made what they should be.

The interface itself belongs to the device that created it; its state here ends with it.
"""

from __future__ import annotations

from ipaddress import ip_interface
from typing import TYPE_CHECKING

from wgbind.net.netlink import (
    FAMILIES,
    doing,
    gone_counts_as_deleted,
    netlink,
    outside_event_loop,
)
from wgbind.net.sysctl import ipv6_enabled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wgbind.net.netlink import Kernel
    from wgbind.settings.address import InterfaceAddress

# linux/if.h, linux/if_addr.h
IFF_UP = 0x1
IFA_F_NODAD = 0x2

NO_LINK_LOCAL = {
    "attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]})],  # IN6_ADDR_GEN_MODE_NONE
}
"""Without such an address the kernel looks for no routers in the tunnel, nor joins groups there.

It is what the kernel's WireGuard does (drivers/net/wireguard/device.c, wg_open).
"""


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
    with doing(f"address {address}"), gone_counts_as_deleted(command):
        kernel.addr(
            command,
            index=index,
            family=FAMILIES[address.version],
            address=str(address.ip),
            prefixlen=address.network.prefixlen,
            **flags,
        )
