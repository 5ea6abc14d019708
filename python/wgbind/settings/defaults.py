"""Settings for a server that has none."""

from __future__ import annotations

import secrets
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network
from typing import TYPE_CHECKING

from wgbind.errors import ConflictError
from wgbind.settings.model import ClientSettings, InterfaceSettings, ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    resolvers = tuple(
        address
        for address in dict.fromkeys(host.resolvers)
        if not (address.is_loopback or address.is_link_local)
    )
    return ServerSettings(
        interface=InterfaceSettings(
            addresses=(_first_host(_free(_private(), taken)), _first_host(_free(_local(), taken)))
        ),
        client=ClientSettings(dns=resolvers or _PUBLIC_DNS),
    )


def _free(candidates: Iterator[Network], taken: Sequence[Network]) -> Network:
    for network in candidates:
        if not any(network.overlaps(other) for other in taken):
            return network
    raise ConflictError(
        "interface.addresses: this host has routes for all private networks; "
        "choose addresses for the tunnel and write them into the settings"
    )


def _private() -> Iterator[IPv4Network]:
    """All private /24 networks, from a random one of each block on."""
    for block in _PRIVATE:
        count = 1 << (24 - block.prefixlen)
        start = secrets.randbelow(count)
        for index in range(start, start + count):
            yield IPv4Network((block.network_address + (index % count << 8), 24))


def _local() -> Iterator[IPv6Network]:
    """Some unique local /64 networks: fd00::/8 and a random global ID (RFC 4193, 3.1)."""
    for _ in range(100):
        yield IPv6Network((0xFD << 120 | secrets.randbits(40) << 80, 64))


def _first_host(network: Network) -> InterfaceAddress:
    return ip_interface((network.network_address + 1, network.prefixlen))
