"""Settings for a server that has none."""

from __future__ import annotations

import secrets
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network
from typing import TYPE_CHECKING

from wgbind.errors import ConflictError
from wgbind.settings.client import ClientSettings
from wgbind.settings.model import InterfaceSettings, ServerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wgbind.net.host import HostView
    from wgbind.settings.address import InterfaceAddress, Network

# Private blocks (RFC 1918), the largest first: the less likely is a client's own network.
_PRIVATE = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
)
_PUBLIC_DNS = (IPv4Address("1.1.1.1"), IPv6Address("2606:4700:4700::1111"))


def fresh_settings(host: HostView) -> ServerSettings:
    """Choose what no one said: a free /24 and a free unique local /64 at random, and DNS.

    Free is what overlaps no route, address or name server of the host. The endpoint stays out:
    what is guessed from the host's address must not outlive that address. Raises `ConflictError`
    if no /24 is free.
    """
    hosts = (*host.addresses, *host.resolvers)
    taken = [*host.networks, *(ip_network(address) for address in hosts)]
    return ServerSettings(
        interface=InterfaceSettings(
            addresses=(_first_host(_free_ipv4(taken)), _first_host(_free_ipv6(taken)))
        ),
        client=fresh_client(host),
    )


def fresh_client(host: HostView) -> ClientSettings:
    """Choose the name servers of clients: those of the host that they reach, else public ones."""
    resolvers = tuple(
        address
        for address in dict.fromkeys(host.resolvers)
        if not (address.is_loopback or address.is_link_local)
    )
    return ClientSettings(dns=resolvers or _PUBLIC_DNS)


def _free_ipv4(taken: Sequence[Network]) -> IPv4Network | None:
    """Find a free private /24: the first from a random place of a block on, or of the block."""
    for block in _PRIVATE:
        begin, end = int(block.network_address), int(block.broadcast_address)
        for first in (begin + (secrets.randbelow(end - begin + 1) & ~0xFF), begin):
            address = first
            while address <= end:
                candidate = IPv4Network((address, 24))
                other = next((network for network in taken if network.overlaps(candidate)), None)
                if other is None:
                    return candidate
                address = (int(other.broadcast_address) | 0xFF) + 1
    return None


def _free_ipv6(taken: Sequence[Network]) -> IPv6Network | None:
    """Make a unique local /64: fd00::/8 and a random global ID (RFC 4193, 3.1)."""
    for _ in range(100):
        candidate = IPv6Network((0xFD << 120 | secrets.randbits(40) << 80, 64))
        if not any(network.overlaps(candidate) for network in taken):
            return candidate
    return None


def _first_host(network: Network | None) -> InterfaceAddress:
    if network is None:
        raise ConflictError(
            "interface.addresses: this host has routes for all private networks; "
            "choose addresses for the tunnel and write them into the settings"
        )
    return ip_interface((network.network_address + 1, network.prefixlen))
