"""Policies for the tests of the firewall."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from net.tunnel import ADDRESSES, A, B
from wgbind.firewall.policy import Policy
from wgbind.settings.policy import PolicySettings

if TYPE_CHECKING:
    from wgbind.settings.address import Address, InterfaceAddress, Network


@dataclass(frozen=True)
class Peer:
    """A peer as the store knows it."""

    name: str
    groups: frozenset[str]
    addresses: tuple[Address, ...]
    routed_networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, name: str, groups: str, *prefixes: str) -> Peer:
        """Make a peer of addresses, and of networks, which have a slash."""
        return cls(
            name,
            frozenset(groups.split()),
            tuple(ip_address(each) for each in prefixes if "/" not in each),
            tuple(ip_network(each) for each in prefixes if "/" in each),
        )


PEERS = (Peer.of("a", "staff", *A), Peer.of("b", "guests", *B))


def policy(
    interface: str,
    *,
    addresses: tuple[InterfaceAddress, ...] = ADDRESSES,
    egress: tuple[str, ...] | None = ("lan",),
    members: tuple[Peer, ...] = PEERS,
    **section: object,
) -> Policy:
    """Make a policy; `section` is what stands under [policy]."""
    said = {"groups": ["staff", "guests"], "preset": "gateway", **section}
    return Policy(interface, addresses, egress, PolicySettings.model_validate(said), members)
