"""A policy as an operator writes it: words and numbers, which nothing of wgbind has read yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from net.probe import Address


@dataclass(frozen=True)
class Peer:
    """A peer as the store knows it."""

    name: str
    groups: frozenset[str]
    addresses: tuple[Address, ...]
    routed_networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, name: str, number: int, groups: str = "", *routed: str) -> Peer:
        """Make the peer with address `number` in each of the tunnel's networks."""
        addresses = (f"10.77.0.{number}", f"fd77::{number}", f"2a00:77::{number}")
        return cls(
            name,
            frozenset(groups.split()),
            tuple(map(ip_address, addresses)),
            tuple(map(ip_network, routed)),
        )


PEERS = (
    Peer.of("alice", 2, "staff"),
    Peer.of("bob", 3, "staff guests"),
    Peer.of("carol", 4, "guests", "10.90.0.0/24", "fd90::/64"),
    Peer.of("dave", 5, "", "10.90.0.128/25", "fd90:0:0:0:8000::/65"),
)

EXIT = (*PEERS[:3], Peer.of("dave", 5, "", "0.0.0.0/0", "::/0"))
"""The same, with one that has all addresses that nobody else has."""


@dataclass(frozen=True)
class Rule:
    """A rule: references and services as their texts."""

    action: str
    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    services: tuple[str, ...] = ()
    log: bool = False

    @classmethod
    def of(cls, action: str, source: str, destination: str, *services: str) -> Rule:
        return cls(action, (source,), (destination,), services)

    def __str__(self) -> str:
        text = f"{self.action} {', '.join(self.sources)} -> {', '.join(self.destinations)}"
        if self.services:
            text += f" : {', '.join(self.services)}"
        return text + " log" * self.log

    def table(self) -> dict[str, Any]:
        """Return it in its other form."""
        return {
            "action": self.action,
            "from": list(self.sources),
            "to": list(self.destinations),
            "services": list(self.services) or ["any"],
            "log": self.log,
        }


@dataclass(frozen=True)
class Forward:
    """A forwarded port, or a range of them, which keeps its numbers."""

    protocol: str
    first: int
    last: int
    to: str
    port: int | None = None
    masquerade: bool = False

    def takes(self, protocol: str, port: int) -> bool:
        """Whether it is about a port."""
        return protocol == self.protocol and self.first <= port <= self.last

    def __str__(self) -> str:
        ports = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        port = "" if self.port is None else f" : {self.port}"
        return f"{self.protocol}/{ports} -> {self.to}{port}" + " masquerade" * self.masquerade


@dataclass(frozen=True)
class Network:
    """A named network."""

    prefixes: tuple[str, ...]
    nat: bool | None = None
    interface: str | None = None

    def table(self) -> dict[str, Any]:
        table: dict[str, Any] = {"prefixes": list(self.prefixes)}
        if self.nat is not None:
            table["nat"] = self.nat
        if self.interface is not None:
            table["interface"] = self.interface
        return table


@dataclass(frozen=True)
class Written:
    """A policy's settings, the egress and the peers that it is about."""

    preset: tuple[str, ...] = ("gateway",)
    rules: tuple[Rule, ...] = ()
    networks: dict[str, Network] = field(
        default_factory=lambda: {"lan": Network(("192.168.7.0/24", "fd07::/64"))}
    )
    services: dict[str, tuple[str, ...]] = field(default_factory=dict)
    forwards: tuple[Forward, ...] = ()
    egress: tuple[str, ...] | None = ("wan1",)
    peers: tuple[Peer, ...] = PEERS
    tables: bool = False
    """Rules stand as tables, not as text."""
    connection_limit: int | None = None

    def section(self) -> dict[str, Any]:
        """Return what stands under [policy]."""
        section: dict[str, Any] = {
            "preset": list(self.preset),
            "groups": ["staff", "guests"],
            "networks": {name: network.table() for name, network in self.networks.items()},
            "services": {name: list(services) for name, services in self.services.items()},
            "rules": [rule.table() if self.tables else str(rule) for rule in self.rules],
            "forwards": [str(forward) for forward in self.forwards],
        }
        if self.connection_limit is not None:
            section["connection_limit"] = self.connection_limit
        return section
