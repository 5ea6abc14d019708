"""Addresses and networks as settings, command line and store take them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
)
from typing import TYPE_CHECKING, TypeAlias

from wgbind.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
InterfaceAddress: TypeAlias = IPv4Interface | IPv6Interface

_LABEL = r"[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*\.?")
_ENDPOINT = re.compile(r"(\[(?P<v6>[^\[\]]*)\]|(?P<host>[^:\[\]]*))(:(?P<port>[0-9]{1,5}))?")


def alone(address: Address) -> Network:
    """Return the network of one address; `ip_network` would write it as text and read that."""
    kind: type[Network] = IPv4Network if address.version == 4 else IPv6Network
    return kind((int(address), address.max_prefixlen))


def pools(addresses: Sequence[InterfaceAddress]) -> tuple[InterfaceAddress, ...]:
    """Return the first of a server's addresses in each of its networks.

    That of another's network is none of its own.
    """
    found: list[InterfaceAddress] = []
    for address in sorted(addresses, key=lambda each: each.network.prefixlen):
        if not any(address.ip in each.network for each in found):
            found.append(address)
    return tuple(each for each in addresses if each in found)


def parse_address(text: str) -> Address:
    """Parse an IP address; raise `InputError`."""
    try:
        address = ip_address(text)
    except ValueError:
        raise InputError(f"{text!r} is not an IP address, such as 10.8.0.2") from None
    _refuse_disguised(address, text)
    return address


def parse_network(text: str) -> Network:
    """Parse a network, such as 192.168.7.0/24; raise `InputError`, also for host bits."""
    try:
        address = ip_interface(text)
    except ValueError:
        raise InputError(f"{text!r} is not a network, such as 192.168.7.0/24") from None
    _refuse_disguised(address, text)
    if address.ip != address.network.network_address:
        raise InputError(f"{text!r} is an address in a network; the network is {address.network}")
    return address.network


def parse_interface_address(text: str) -> InterfaceAddress:
    """Parse the address of an interface with its prefix length; raise `InputError`.

    It has to be one that a host can have: not the network's own nor the broadcast address.
    """
    try:
        address = ip_interface(text)
    except ValueError:
        address = None
    if address is None or "/" not in text:
        raise InputError(f"{text!r} is not an address with a prefix length, such as 10.8.0.1/24")
    _refuse_disguised(address, text)
    require_tunnel_network(address.network)
    if address.ip in reserved(address.network):
        raise InputError(
            f"{text!r} is not an address of a host in {address.network}; "
            f"the first is {address.network.network_address + 1}/{address.network.prefixlen}"
        )
    return address


def reserved(network: Network) -> frozenset[Address]:
    """The addresses of a network that no host may have.

    For IPv4 the network's own and the broadcast address, none in a /31 (RFC 3021) or /32; for IPv6
    the subnet-router anycast address (RFC 4291, 2.6.1), none in a /127 (RFC 6164) or /128.
    """
    if network.prefixlen >= network.max_prefixlen - 1:
        return frozenset()
    if isinstance(network, IPv4Network):
        return frozenset({network.network_address, network.broadcast_address})
    return frozenset({network.network_address})


def parse_domain(text: str) -> str:
    """Parse the name of a host or domain in ASCII (RFC 1123, and "_"); raise `InputError`."""
    if _DOMAIN.fullmatch(text) is None:
        raise InputError(f"{text!r} is not a host name, such as vpn.example.org")
    return text


@dataclass(frozen=True)
class Endpoint:
    """Where a UDP service is: a host name or an address, and a port unless a default holds."""

    host: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Parse "host", "host:port", "[v6]:port" or a bare IPv6 address; raise `InputError`."""
        match = _ENDPOINT.fullmatch(text)
        if match is None:  # only an IPv6 address has more than one colon
            return cls(str(parse_address(text)))
        host = match["host"]
        if host is None:
            address = parse_address(match["v6"])
            if not isinstance(address, IPv6Address):
                raise InputError(f"{text!r}: only an IPv6 address stands in brackets")
            host = str(address)
        elif re.fullmatch(r"[0-9.]+", host):
            host = str(parse_address(host))
        else:
            parse_domain(host)
        port = match["port"]
        if port is not None and not 1 <= int(port) <= 65535:
            raise InputError(f"{text!r}: the port is 1 to 65535")
        return cls(host, None if port is None else int(port))

    def with_port(self, port: int) -> Endpoint:
        """Return it with `port`, if it says none."""
        return self if self.port is not None else replace(self, port=port)

    def __str__(self) -> str:
        if self.port is None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_peer_endpoint(text: str) -> tuple[str, int]:
    """Parse "host:port" or "[v6]:port", where a peer listens; raise `InputError`."""
    endpoint = Endpoint.parse(text)
    if endpoint.port is None:
        raise InputError(f"endpoint {text!r}: the port is missing; write it behind a colon")
    return endpoint.host, endpoint.port


def require_tunnel_network(network: Network) -> None:
    """Refuse a network whose addresses no host behind a tunnel can have; raise `InputError`."""
    for kind in ("loopback", "multicast", "link_local", "unspecified"):
        if getattr(network, f"is_{kind}"):
            raise InputError(
                f"{network} is {kind.replace('_', '-')}; use a network that is routed, "
                "such as 10.8.0.0/24"
            )


def _refuse_disguised(address: Address, text: str) -> None:
    """Refuse what WireGuard's messages and configurations have no form for."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise InputError(f"{text!r} has a zone; leave out %{address.scope_id}")
        if address.ipv4_mapped is not None:
            raise InputError(f"{text!r} is an IPv4 address; write {address.ipv4_mapped}")
