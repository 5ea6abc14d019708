"""Send echo requests and tell how many were answered, with what they carried.

Usage: echo.py ADDRESS COUNT INTERVAL DEADLINE SIZE [SOURCE]

ping(8) waits for an answer that is slower than twice the others no longer than its interval, and
calls it lost; here each has the whole DEADLINE. It ends as soon as each request is answered, or
refused by an ICMP error. SOURCE is an address or an interface to send from.
"""

import contextlib
import ipaddress
import os
import select
import socket
import struct
import sys
import time
from typing import NamedTuple

SO_RCVBUFFORCE = 33
"""socket(7); Python has no name for it."""


class Kind(NamedTuple):
    """What differs between ICMP (RFC 792) and ICMPv6 (RFC 4443)."""

    family: int
    protocol: int
    request: int
    answer: int
    unreachable: int


IPV4 = Kind(socket.AF_INET, socket.IPPROTO_ICMP, request=8, answer=0, unreachable=3)
IPV6 = Kind(socket.AF_INET6, socket.IPPROTO_ICMPV6, request=128, answer=129, unreachable=1)
HEADER = struct.Struct("!BBHHH")


class Echo:
    """A socket, and what it sent and heard."""

    def __init__(self, address: str, size: int, source: str | None) -> None:
        self.kind = IPV6 if ":" in address else IPV4
        self.address = address
        self.number = int.from_bytes(os.urandom(2), "big")
        self.payload = os.urandom(size)
        self.answered: set[int] = set()
        self.refused: set[int] = set()
        self.sock = socket.socket(self.kind.family, socket.SOCK_RAW, self.kind.protocol)
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        except PermissionError:  # root of a user namespace only
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        if source is not None:
            try:
                ipaddress.ip_address(source)
            except ValueError:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, source.encode())
            else:
                self.sock.bind((source, 0))

    def send(self, sequence: int) -> None:
        """Send a request; one that this host refuses to send is lost like others."""
        head = HEADER.pack(self.kind.request, 0, 0, self.number, sequence)
        if self.kind is IPV4:  # of ICMPv6 the kernel makes the checksum
            total = checksum(head + self.payload)
            head = HEADER.pack(self.kind.request, 0, total, self.number, sequence)
        with contextlib.suppress(OSError):
            self.sock.sendto(head + self.payload, (self.address, 0))

    def hear(self, seconds: float) -> None:
        """Wait so long for a message, and note it if it is about a request of ours."""
        if not select.select([self.sock], [], [], max(0.0, seconds))[0]:
            return
        try:
            message = self.sock.recv(65535)
        except OSError:  # such as an ICMP error that the kernel puts down to the socket
            return
        if self.kind is IPV4:
            message = message[(message[0] & 15) * 4 :]
        if len(message) < HEADER.size:
            return
        kind, _, _, number, sequence = HEADER.unpack_from(message)
        if kind == self.kind.unreachable:
            inner = message[HEADER.size :]
            inner = inner[(inner[0] & 15) * 4 if self.kind is IPV4 else 40 :]
            if len(inner) >= HEADER.size:
                kind, _, _, number, sequence = HEADER.unpack_from(inner)
                if (kind, number) == (self.kind.request, self.number):
                    self.refused.add(sequence)
        elif (kind, number, message[8:]) == (self.kind.answer, self.number, self.payload):
            self.answered.add(sequence)

    def run(self, count: int, interval: float, deadline: float) -> int:
        """Send so many; return how many were answered."""
        begin = time.monotonic()
        for sequence in range(count):
            due = begin + sequence * interval
            while (left := due - time.monotonic()) > 0:
                self.hear(left)
            self.send(sequence)
        end = time.monotonic() + deadline
        while len(self.answered | self.refused) < count and (left := end - time.monotonic()) > 0:
            self.hear(left)
        return len(self.answered)


def checksum(data: bytes) -> int:
    """Return the internet checksum (RFC 1071)."""
    words = data + bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


if __name__ == "__main__":
    to, many, pause, patience, length, *sender = sys.argv[1:]
    echo = Echo(to, int(length), sender[0] if sender else None)
    print(echo.run(int(many), float(pause), float(patience)))
