"""The connections that the kernel tracks (linux/netfilter/nfnetlink_conntrack.h).

Rules decide about the first packet of a connection. When they change, those that they would not
allow any more are ended here: their next packet begins a new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from itertools import product
from typing import TYPE_CHECKING, Literal, TypeAlias

from wgbind.firewall.decide import End, Flow, decide, is_end
from wgbind.firewall.expression import ECHO_REQUEST, ICMP, TCP, UDP, version_of
from wgbind.firewall.nfnetlink import ACK, DUMP, Nfnetlink, attribute, attributes, nested
from wgbind.net.netlink import netlink, outside_event_loop
from wgbind.settings.rule import CONCERNED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wgbind.firewall.policy import Policy
    from wgbind.settings.address import Address
    from wgbind.settings.reference import Reference

Protocol: TypeAlias = Literal["tcp", "udp", "icmp", "ping", "other"]

# Names of the header, without prefixes.
_GET, _DELETE = 1, 2
_TUPLE_ORIG, _TUPLE_REPLY, _ID = 1, 2, 12
_AF_INET: Mapping[int, int] = {4: 2, 6: 10}


@dataclass(frozen=True)
class Tuple:
    """One direction of a connection; ports are 0 if it has none."""

    source: Address
    destination: Address
    protocol: int
    source_port: int
    destination_port: int
    icmp_type: int

    @classmethod
    def decode(cls, data: bytes) -> Tuple:
        """Decode what the kernel tells of it."""
        parts = dict(attributes(data))
        # Of IPv4 and IPv6: the source, then the destination.
        source, destination = (each for _, each in sorted(attributes(parts[1])))
        told = dict(attributes(parts[2]))
        protocol, source_port, destination_port, type4, type6 = (
            int.from_bytes(told.get(kind, b""), "big") for kind in (1, 2, 3, 5, 8)
        )
        return cls(
            ip_address(source),
            ip_address(destination),
            protocol,
            source_port,
            destination_port,
            type4 or type6,
        )


@dataclass(frozen=True)
class Connection:
    """A tracked connection: as it began, as its answers are, and its number."""

    original: Tuple
    reply: Tuple
    handle: bytes
    """What the kernel finds it by: its attributes."""

    @property
    def protocol(self) -> Protocol:
        """What rules call it."""
        number = self.original.protocol
        if number == ICMP[version_of(self.original.source)]:
            echo = self.original.icmp_type == ECHO_REQUEST[version_of(self.original.source)]
            return "ping" if echo else "icmp"
        return "tcp" if number == TCP else "udp" if number == UDP else "other"


class Conntrack(Nfnetlink):
    """A connection to the kernel's connection tracking."""

    subsystem = 1  # NFNL_SUBSYS_CTNETLINK
    family = 0  # all

    def connections(self) -> Iterator[Connection]:
        """Read all tracked connections."""
        for found in self._ask(_GET, b"", DUMP):
            if _TUPLE_REPLY in found and _ID in found:
                original = found[_TUPLE_ORIG]
                yield Connection(
                    Tuple.decode(original),
                    Tuple.decode(found[_TUPLE_REPLY]),
                    nested(_TUPLE_ORIG, original) + attribute(_ID, found[_ID]),
                )

    def end(self, connection: Connection) -> None:
        """Forget a connection, unless that happened already."""
        family = _AF_INET[connection.original.source.version]
        try:
            self._ask(_DELETE, connection.handle, ACK, family)
        except FileNotFoundError:
            return


def end_forbidden(policy: Policy) -> int:
    """End the connections through the tunnel that a policy does not allow; return how many.

    Raises `FirewallError`, `PrivilegeError`, `NetworkError`.
    """
    judge = _Judge(policy)
    with Conntrack() as kernel:
        forbidden = [each for each in kernel.connections() if judge.forbids(each)]
        for connection in forbidden:
            kernel.end(connection)
    return len(forbidden)


class _Judge:
    """Decides about connections of which the kernel does not tell by which interfaces they go.

    In doubt it takes them for allowed.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._local = _local_addresses()
        networks = policy.settings.networks.values()
        named = [each.interface for each in networks if each.interface is not None]
        self._interfaces = tuple(dict.fromkeys((*(policy.egress or ()), *named, "")))
        rules = policy.rules
        self._references = {each for rule in rules for each in (*rule.sources, *rule.destinations)}
        self._meant: dict[End, frozenset[Reference]] = {}
        self._allowed: dict[object, bool] = {}

    def forbids(self, connection: Connection) -> bool:
        """Whether a connection is through the tunnel for certain, and no rule allows it."""
        # Whoever answers is where it goes to, and whom the answer goes to is where it seems to
        # come from: both may have been translated on the way.
        original, reply = connection.original, connection.reply
        if self._is_forwarded(connection):
            return False
        out = self._local.get(reply.destination) if reply.destination != original.source else None
        flows = [
            Flow(source, destination, connection.protocol, reply.source_port)
            for source, destination in product(
                self._ends(original.source, None), self._ends(reply.source, out)
            )
        ]
        return all(
            (flow.source.zone, flow.destination.zone) in CONCERNED and not self._allows(flow)
            for flow in flows
        )

    def _is_forwarded(self, connection: Connection) -> bool:
        if connection.original.destination not in self._local:
            return False  # it called the peer itself
        return any(
            forward.service.protocol == connection.protocol
            and forward.service.first
            <= connection.original.destination_port
            <= forward.service.last
            and connection.reply.source in targets
            for forward, targets in self._policy.targets
        )

    def _allows(self, flow: Flow) -> bool:
        # Decided once for all connections that the rules cannot tell apart.
        alike = (
            *(flow.source.zone, self._names(flow.source), flow.destination.zone),
            *(self._names(flow.destination), flow.protocol, flow.port),
            flow.source.zone == "tunnel" and self._policy.is_spoofed(flow.source.address),
        )
        if alike not in self._allowed:
            self._allowed[alike] = decide(self._policy, flow).allowed
        return self._allowed[alike]

    def _names(self, end: End) -> frozenset[Reference]:
        """Return by which of the rules' references an end is meant."""
        if end not in self._meant:
            named = (each for each in self._references if is_end(self._policy, each, end))
            self._meant[end] = frozenset(named)
        return self._meant[end]

    def _ends(self, address: Address, interface: str | None) -> Iterator[End]:
        """Yield where an address may be."""
        if address in self._local:
            yield End("host", address)
            return
        owner = self._policy.owner(address)
        in_tunnel = any(address in own.network for own in self._policy.addresses)
        if in_tunnel or owner is not None:
            yield End("tunnel", address)
        # Routes lead to the networks behind peers; who is the way to everything else may not be it.
        routed = () if owner is None else owner.routed_networks
        behind = any(network.prefixlen and address in network for network in routed)
        if not (in_tunnel or behind):
            for name in self._interfaces if interface is None else (interface,):
                yield End("outside", address, name)


@outside_event_loop
def _local_addresses() -> dict[Address, str]:
    """Return this host's addresses, and the interface that has each."""
    with netlink("reading addresses") as kernel:
        names = {link["index"]: str(link.get("IFLA_IFNAME")) for link in kernel.get_links()}
        return {
            ip_address(entry.get("IFA_LOCAL") or entry.get("IFA_ADDRESS")): names[entry["index"]]
            for entry in kernel.get_addr()
            if entry["index"] in names
        }
