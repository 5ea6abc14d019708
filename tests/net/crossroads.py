"""A server all of whose links end in this process: packets go in, and are seen where they come out.

                     ┌── tunnel ── alice   staff
                     │             bob     staff, guests
      host = server ─┤             carol   guests, and a network behind her
                     │             dave    no group, and a part of that network
                     ├── lan ───── 192.168.7.0/24, 192.168.8.0/24
                     ├── wan1 ──── everything else
                     └── wan2 ──── 198.51.100.0/24

Each link is a TUN device, so that all that the server's kernel forwards within a write is there
to be read after it: whether a packet arrived is known at once, without waiting.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

from typing_extensions import Self

from harness import interface_name
from net.host import Host
from net.probe import Address, Kind, Packet, Protocol, decode, decode_payload, port_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

TUNNEL, LAN, WAN1, WAN2, HOST = "tunnel", "lan", "wan1", "wan2", "host"
"""The links, and the server itself."""

ADDRESSES = {
    TUNNEL: ("10.77.0.1/24", "fd77::1/64", "2a00:77::1/64"),
    LAN: ("192.168.7.1/24", "fd07::1/64"),
    WAN1: ("203.0.113.2/24", "2a00:1::2/64"),
    WAN2: ("198.51.100.2/24", "2a00:2::2/64"),
}
"""The server's on each link. One of the tunnel's networks is of globally routable addresses."""

ROUTES = {
    TUNNEL: ("10.90.0.0/16", "fd90::/32", "198.18.99.0/24", "2a00:99::/64"),
    LAN: ("192.168.8.0/24", "fd08::/64"),
    WAN1: ("0.0.0.0/0", "::/0"),
    WAN2: (),
}

GRACE = 0.01
"""Seconds for a packet that is not there at once, which should not be."""

REMEMBERED = 10
"""Seconds that connections are tracked after `Crossroads.forget_soon`: until they are answered."""

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000


@dataclass(frozen=True)
class Probe:
    """A first packet of a connection: from where, to where.

    Attributes:
        enters: The link that it comes from; `HOST` for one of the server's own.
        source: Address, likewise `destination`.
        protocol: What it carries.
        port: The destination's, of TCP and UDP.
    """

    enters: str
    source: Address
    destination: Address
    protocol: Protocol
    port: int = 0

    @classmethod
    def of(
        cls, enters: str, source: str, destination: str, protocol: Protocol = "udp", port: int = 9
    ) -> Probe:
        port = port if protocol in ("tcp", "udp") else 0
        return cls(enters, ip_address(source), ip_address(destination), protocol, port)


@dataclass(frozen=True)
class Arrival:
    """Where a packet came out, and how it was addressed there."""

    at: str
    source: Address
    destination: Address
    port: int


@dataclass(frozen=True)
class Seen:
    """A packet that came out, and where."""

    at: str
    packet: Packet

    @property
    def arrival(self) -> Arrival:
        """Where it came out and how it is addressed."""
        packet = self.packet
        return Arrival(self.at, packet.source, packet.destination, packet.port)


@cache
def way(destination: Address) -> str:
    """Return the link by which the server sends to an address; `HOST` for its own."""
    best: tuple[int, str] = (-1, "")
    for link, addresses in ADDRESSES.items():
        if destination in {ip_interface(address).ip for address in addresses}:
            return HOST
        networks = [ip_interface(address).network for address in addresses]
        networks += [ip_network(route) for route in ROUTES[link]]
        for network in networks:
            if destination in network:
                best = max(best, (network.prefixlen, link))
    return best[1]


def own_address(link: str, to: Address) -> Address:
    """Return the server's address on a link that packets to an address leave with."""
    addresses = [ip_interface(address) for address in ADDRESSES[link]]
    ours = [address for address in addresses if address.version == to.version]
    near = [address for address in ours if to in address.network]
    return (near or ours)[0].ip


class Crossroads:
    """The picture above, forwarding, and with no rules; a context manager.

    Attributes:
        server: The host, on which rules are to be applied.
        tunnel: What its tunnel's interface is called.
    """

    def __init__(self) -> None:
        self.server = Host("server")
        self.tunnel = interface_name()
        self._links: dict[str, int] = {}
        self._own: dict[int, tuple[socket.socket, int]] = {}
        self._senders: dict[int, socket.socket] = {}
        self._stack = ExitStack()
        self._number = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.server)
            for setting in ("all", "default"):
                self.server.sysctl(f"net.ipv4.conf.{setting}.rp_filter", "0")
            for link, addresses in ADDRESSES.items():
                descriptor = self.server.call(_tun, self._name(link))
                self._links[link] = descriptor
                stack.callback(os.close, descriptor)
                for address in addresses:
                    self.server.add_address(self._name(link), address)
                self.server.ip("link", "set", self._name(link), "up")
                for route in ROUTES[link]:
                    self.server.ip("route", "add", route, "dev", self._name(link))
            for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
                self.server.sysctl(key, "1")
            self.server.call(self._open_sockets, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _name(self, link: str) -> str:
        return self.tunnel if link == TUNNEL else link

    def _open_sockets(self, stack: ExitStack) -> None:
        """Open what sees the packets that the host gets, past all rules, and what sends its own."""
        for family, icmp in (
            (socket.AF_INET, socket.IPPROTO_ICMP),
            (socket.AF_INET6, socket.IPPROTO_ICMPV6),
        ):
            for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP, icmp):
                receiver = stack.enter_context(socket.socket(family, socket.SOCK_RAW, protocol))
                self._own[receiver.fileno()] = receiver, protocol
                if family == socket.AF_INET6:
                    receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            sender = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
            self._senders[family] = stack.enter_context(sender)

    def forget_soon(self) -> None:
        """Have the kernel track connections that end with their first packets no longer than that.

        Else it tracks so many for minutes that to look through them takes long.
        """
        kinds = "tcp_timeout_syn_sent tcp_timeout_syn_recv udp_timeout udp_timeout_stream"
        for kind in (*kinds.split(), "icmp_timeout", "icmpv6_timeout"):
            self.server.sysctl(f"net.netfilter.nf_conntrack_{kind}", str(REMEMBERED))

    def pass_through(self, probes: Iterable[Probe]) -> list[Seen | None]:
        """Send each and return where it came out; None for one that did not."""
        return self.deliver((probe.enters, self.question(probe)) for probe in probes)

    def deliver(self, packets: Iterable[tuple[str, Packet]]) -> list[Seen | None]:
        """Do so with questions and the links that they come from; the same ones once more, too."""
        numbers: list[int] = []
        seen: list[Seen] = []
        for enters, packet in packets:
            numbers.append(packet.number)
            self.send(enters, packet.encode())
            seen += self.look(wait=0)
        return _sort(numbers, seen + self.look(), "question")

    def answer(self, questions: Iterable[Seen]) -> list[Seen | None]:
        """Answer each question where it came out; return where the answers did."""
        numbers: list[int] = []
        seen: list[Seen] = []
        for question in questions:
            numbers.append(question.packet.number)
            self.send(question.at, question.packet.reply().encode())
            seen += self.look(wait=0)
        return _sort(numbers, seen + self.look(), "answer")

    def ask(self, probe: Probe) -> Packet:
        """Send the first packet of a new connection."""
        packet = self.question(probe)
        self.send(probe.enters, packet.encode())
        return packet

    def question(self, probe: Probe) -> Packet:
        """Return the first packet of a new connection, to be sent."""
        self._number += 1
        return Packet(
            source=probe.source,
            destination=probe.destination,
            protocol=probe.protocol,
            source_port=port_of(self._number),
            port=probe.port,
            number=self._number,
        )

    def send(self, enters: str, packet: bytes) -> None:
        """Let a packet come from a link, or from the host itself."""
        if enters != HOST:
            os.write(self._links[enters], packet)
            return
        version = packet[0] >> 4
        to = ip_address(packet[16:20] if version == 4 else packet[24:40])
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        with contextlib.suppress(PermissionError):  # what the kernel says when a rule drops it
            self._senders[family].sendto(packet, (str(to), 0))

    def look(self, wait: float = GRACE) -> list[Seen]:
        """Return what came out since the last call, until nothing does for `wait` seconds."""
        links = {descriptor: link for link, descriptor in self._links.items()}
        found = []
        while ready := select.select([*links, *self._own], [], [], wait)[0]:
            for descriptor in ready:
                if descriptor in links:
                    packet, at = decode(os.read(descriptor, 65535)), links[descriptor]
                else:
                    packet, at = self._received(descriptor), HOST
                if packet is not None:
                    found.append(Seen(at, packet))
        return found

    def _received(self, descriptor: int) -> Packet | None:
        receiver, protocol = self._own[descriptor]
        if receiver.family == socket.AF_INET:
            return decode(receiver.recv(65535))
        # The header of IPv6 is taken off; the destination comes beside the payload (RFC 3542, 6.1).
        payload, ((_, _, info),), _, (source, *_) = receiver.recvmsg(65535, 64)
        return decode_payload(ip_address(source), ip_address(info[:16]), protocol, payload)


def _sort(numbers: list[int], seen: list[Seen], kind: Kind) -> list[Seen | None]:
    """Return who came out of each number, of one kind, of which none comes out twice."""
    found: dict[int, Seen] = {}
    for each in seen:
        if each.packet.kind == kind:
            assert each.packet.number not in found, f"{each} came out twice"
            found[each.packet.number] = each
    return [found.get(number) for number in numbers]


def _tun(name: str) -> int:
    """Make a TUN device, which goes when its descriptor is closed."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor
