"""A question about a connection, in people's words: who, to whom, by what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from wgbind.errors import InputError, NotFoundError
from wgbind.firewall.decide import End, Flow, FlowProtocol
from wgbind.firewall.place import INTERNET
from wgbind.settings.address import parse_address
from wgbind.settings.service import PORT_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wgbind.firewall.policy import Member, Policy
    from wgbind.net.way import Way
    from wgbind.settings.address import Address

    WayTo: TypeAlias = Callable[[Address, Address | None], Way | None]

_BRACKETED = re.compile(r"\[(?P<end>.*)\]:(?P<port>[0-9]{1,9})")
_WITH_PORT = re.compile(r"(?P<end>.+):(?P<port>[0-9]{1,9})")


@dataclass(frozen=True)
class Question:
    """Who begins what with whom; the ends are "host", "internet", a peer's name or an address.

    "peer:NAME" is a peer in any case. `port` is 0 if the protocol has none.
    """

    source: str
    destination: str
    protocol: FlowProtocol
    port: int = 0

    @classmethod
    def parse(cls, words: Sequence[str]) -> Question:
        """Parse SOURCE [->] DESTINATION[:PORT] [tcp|udp|ping|icmp], in one text or several.

        Without a protocol it is tcp if there is a port, else ping. Raises `InputError`.
        """
        text = " ".join(words)
        parts = [part for part in re.split(r"\s+|->|→", text) if part]
        if not 2 <= len(parts) <= 3:
            raise InputError(
                f"{text!r} is not a question, such as 'alice -> 192.168.7.9:22 tcp' in quotes"
            )
        destination, port = _split_port(parts[1])
        protocol = _protocol(parts[2]) if len(parts) == 3 else "ping" if port is None else "tcp"
        if protocol in {"tcp", "udp"} and port is None:
            raise InputError(f"{text!r}: {protocol} needs a port, as in {destination}:22")
        if protocol in {"icmp", "ping"} and port is not None:
            raise InputError(f"{text!r}: {protocol} has no ports; leave out :{port}")
        return cls(parts[0], destination, protocol, port or 0)

    def flow(self, policy: Policy, way_to: WayTo) -> Flow:
        """Find the ends.

        An end with addresses of both kinds is taken by the one that the other end has, IPv4 first.

        Args:
            policy: Whose peers and addresses they are.
            way_to: Says where the host sends what is for an address, given that of the peer that it
                comes from if it comes from one; None if nowhere.

        Raises `NotFoundError` for a peer that does not exist, `InputError` for ends of two kinds.
        """
        sources = _addresses(self.source, policy)
        destinations = _addresses(self.destination, policy)
        for version in (4, 6):
            if version in sources and version in destinations:
                source = _end(sources[version], policy, way_to(sources[version], None))
                peer = source.address if source.zone == "tunnel" else None
                there = destinations[version]
                destination = _end(there, policy, way_to(there, peer))
                return Flow(source, destination, self.protocol, self.port)
        raise InputError(
            f"{self.source} and {self.destination} have no addresses of one kind, IPv4 or IPv6; "
            "name an address"
        )


def _addresses(text: str, policy: Policy) -> dict[int, Address]:
    """Return the addresses that stand for an end, by IP version; the first of each."""
    if text == "host":
        addresses = tuple(own.ip for own in policy.addresses)
    elif text == "internet":
        addresses = INTERNET
    elif re.fullmatch(r"[0-9.]+|.*:.*:.*", text):
        addresses = (parse_address(text),)
    else:
        addresses = _member(text.removeprefix("peer:"), policy).addresses
    return {address.version: address for address in reversed(addresses)}


def _member(name: str, policy: Policy) -> Member:
    for member in policy.members:
        if member.name == name:
            return member
    raise NotFoundError(
        f"there is no peer {name!r}, or it is disabled; name a peer, an address, host or internet"
    )


def _end(address: Address, policy: Policy, way: Way | None) -> End:
    if any(address == own.ip for own in policy.addresses):
        return End("host", address)
    if way is not None and way.local:
        return End("host", address)
    if way is not None and way.interface == policy.interface:
        return End("tunnel", address)
    # A server that is stopped has no routes into the tunnel yet.
    if any(address in own.network for own in policy.addresses) or _is_routed(address, policy):
        return End("tunnel", address)
    return End("outside", address, "" if way is None else way.interface)


def _is_routed(address: Address, policy: Policy) -> bool:
    return any(
        network.prefixlen > 0 and address in network
        for member in policy.members
        for network in member.routed_networks
    )


def _split_port(text: str) -> tuple[str, int | None]:
    match = _BRACKETED.fullmatch(text)
    if match is None and text.count(":") - text.startswith("peer:") > 1:
        return text, None  # an IPv6 address, whose port stands behind brackets
    match = match or _WITH_PORT.fullmatch(text)
    if match is None:
        return text, None
    if not 1 <= int(match["port"]) <= PORT_MAX:
        raise InputError(f"{text!r}: there is no port {match['port']}; use 1 to {PORT_MAX}")
    return match["end"], int(match["port"])


def _protocol(text: str) -> FlowProtocol:
    match text:
        case "tcp" | "udp" | "icmp" | "ping":
            return text
        case _:
            raise InputError(f"{text!r} is not a protocol; use tcp, udp, ping or icmp")
