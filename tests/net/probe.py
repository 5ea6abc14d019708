"""First packets of connections and the answers to them, with a number inside to know them by."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Protocol: TypeAlias = Literal["tcp", "udp", "icmp", "ping"]
"""SYN of TCP, UDP, a query of ICMP other than echo, and an echo request."""

Kind: TypeAlias = Literal["question", "answer", "error"]
"""An error is what somebody on a question's way sends back about it."""

MAGIC = b"wgbind probe"
FIN, SYN, ACK = 0x01, 0x02, 0x10
NUMBER_OF_PROTOCOL = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
# Queries and their answers that conntrack knows: echo and timestamp (RFC 792), echo (RFC 4443)
# and node information (RFC 4620).
ICMP_TYPES: dict[tuple[Protocol, int], tuple[int, int]] = {
    ("ping", 4): (8, 0),
    ("icmp", 4): (13, 14),
    ("ping", 6): (128, 129),
    ("icmp", 6): (139, 140),
}


@dataclass(frozen=True)
class Packet:
    """A packet of ours on its way.

    Attributes:
        source: Address, likewise `destination`.
        protocol: What it carries.
        source_port: Of TCP and UDP; the identifier of ICMP.
        port: Destination's, of TCP and UDP; 0 for ICMP.
        number: What it is known by: answers and errors have the question's.
        kind: Which of them it is.
    """

    source: Address
    destination: Address
    protocol: Protocol
    source_port: int
    port: int
    number: int
    kind: Kind = "question"

    def encode(self, flags: int | None = None) -> bytes:
        """Return a question or answer with its IP header (RFC 791, 8200) and all checksums.

        `flags` are TCP's, if not those of its place in the handshake.
        """
        version = self.source.version
        answers = self.kind == "answer"
        body = MAGIC + struct.pack("!IB", self.number, answers)
        if self.protocol in NUMBER_OF_PROTOCOL:
            protocol = NUMBER_OF_PROTOCOL[self.protocol]
        else:
            protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
        pseudo = self.source.packed + self.destination.packed
        ports = struct.pack("!HH", self.source_port, self.port)
        if self.protocol == "tcp":
            usual, acknowledged = (SYN | ACK, 1 + len(body) + 1) if answers else (SYN, 0)
            bits = usual if flags is None else flags
            header = ports + struct.pack("!IIBBHHH", 1, acknowledged, 5 << 4, bits, 1024, 0, 0)
            at = 16
        elif self.protocol == "udp":
            header, at = ports + struct.pack("!HH", 8 + len(body), 0), 6
        else:
            kind = ICMP_TYPES[self.protocol, version][answers]
            header, at = struct.pack("!BBHHH", kind, 0, 0, self.source_port, 0), 2
            if version == 4:
                pseudo = b""  # ICMP has none
        if pseudo:
            pseudo += struct.pack("!IxxxB", len(header) + len(body), protocol)
        sum_ = checksum(pseudo + header + body)
        payload = header[:at] + struct.pack("!H", sum_) + header[at + 2 :] + body
        return _ip_header(self.source, self.destination, protocol, len(payload)) + payload

    def reply(self) -> Packet:
        """Return what its receiver would answer."""
        icmp = self.protocol in ("icmp", "ping")
        return Packet(
            source=self.destination,
            destination=self.source,
            protocol=self.protocol,
            source_port=self.source_port if icmp else self.port,
            port=0 if icmp else self.source_port,
            number=self.number,
            kind="answer",
        )

    def error(self, reporter: Address) -> bytes:
        """Return "port unreachable" about it (RFC 792, RFC 4443, 3.1), as `reporter` sends it."""
        version = self.source.version
        kind, code = (3, 3) if version == 4 else (1, 4)
        message = struct.pack("!BBHI", kind, code, 0, 0) + self.encode()
        protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
        pseudo = b""
        if version == 6:
            pseudo = reporter.packed + self.source.packed
            pseudo += struct.pack("!IxxxB", len(message), protocol)
        sum_ = struct.pack("!H", checksum(pseudo + message))
        header = _ip_header(reporter, self.source, protocol, len(message))
        return header + message[:2] + sum_ + message[4:]


def decode(packet: bytes) -> Packet | None:
    """Return a packet of ours; None for all else that a host sends."""
    version = packet[0] >> 4
    if version == 4:
        start, protocol = (packet[0] & 0xF) * 4, packet[9]
        source, destination = packet[12:16], packet[16:20]
    else:
        start, protocol = 40, packet[6]
        source, destination = packet[8:24], packet[24:40]
    return decode_payload(ip_address(source), ip_address(destination), protocol, packet[start:])


def decode_payload(
    source: Address, destination: Address, protocol: int, payload: bytes
) -> Packet | None:
    """Do the same as `decode` where the IP header has been taken off."""
    body = payload[payload.find(MAGIC) :]
    if not body.startswith(MAGIC) or len(body) < len(MAGIC) + 5:
        return None  # not ours, or an error that quotes a part of ours
    number, answers = struct.unpack_from("!IB", body, len(MAGIC))
    kind: Kind = "answer" if answers else "question"
    source_port, port = struct.unpack_from("!HH", payload)
    for name, of_protocol in NUMBER_OF_PROTOCOL.items():
        if protocol == of_protocol:
            named: Protocol = "tcp" if name == "tcp" else "udp"
            return Packet(source, destination, named, source_port, port, number, kind)
    (identifier,) = struct.unpack_from("!H", payload, 4)
    for (named, version), types in ICMP_TYPES.items():
        if version == source.version and payload[0] in types:
            kind = "answer" if payload[0] == types[1] else "question"
            return Packet(source, destination, named, identifier, 0, number, kind)
    return Packet(source, destination, "icmp", 0, 0, number, "error")


def port_of(number: int) -> int:
    """Return the port, or identifier, that a question of this number leaves from."""
    return 1024 + number % 60000


def checksum(data: bytes) -> int:
    """Compute the Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _ip_header(source: Address, destination: Address, protocol: int, length: int) -> bytes:
    if source.version == 6:
        header = struct.pack("!IHBB", 6 << 28, length, protocol, 64)
        return header + source.packed + destination.packed
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, protocol, 0)
    header += source.packed + destination.packed
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:]
