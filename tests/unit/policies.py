"""A small policy to try things on: four peers, two groups, two named networks."""

from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from wgbind.firewall.decide import End, Flow
from wgbind.firewall.policy import Policy
from wgbind.settings.address import Address, Network
from wgbind.settings.policy import PolicySettings


@dataclass(frozen=True)
class Peer:
    name: str
    groups: frozenset[str]
    addresses: tuple[Address, ...]
    routed_networks: tuple[Network, ...] = ()


MEMBERS = (
    Peer("alice", frozenset({"staff"}), (ip_address("10.8.0.2"), ip_address("fd08::2"))),
    Peer("bob", frozenset({"guests"}), (ip_address("10.8.0.3"),), (ip_network("10.20.0.0/16"),)),
    Peer("carol", frozenset({"staff", "guests"}), (ip_address("10.8.0.4"),)),
    Peer("exit", frozenset(), (ip_address("10.8.0.5"),), (ip_network("0.0.0.0/0"),)),
)

NETWORKS = {
    "lan": ["192.168.7.0/24", "fd07::/64"],
    "dc": {"prefixes": ["172.16.0.0/16"], "interface": "eth1"},
}


def policy(*rules: str, egress: tuple[str, ...] | None = ("eth0",), **settings: Any) -> Policy:
    values = {"preset": [], "groups": ["staff", "guests"], "networks": NETWORKS, **settings}
    return Policy(
        "wg0",
        (ip_interface("10.8.0.1/24"), ip_interface("fd08::1/64")),
        egress,
        PolicySettings.model_validate({**values, "rules": rules}),
        MEMBERS,
    )


def end(text: str) -> End:
    """Make an end of "host", "ADDRESS" (in the tunnel) or "ADDRESS@INTERFACE" (outside)."""
    if text == "host":
        return End("host", ip_address("10.8.0.1"))
    address, _, interface = text.partition("@")
    return End("outside" if interface else "tunnel", ip_address(address), interface)


def flow(source: str, destination: str, service: str = "tcp/22") -> Flow:
    protocol, _, port = service.partition("/")
    return Flow(end(source), end(destination), protocol, int(port or 0))  # type: ignore[arg-type]
