"""Replacing a ruleset under traffic: at no moment is more let through, or less."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from typing_extensions import Self

from net.tunnel import ADDRESSES, LAN, LAN_SERVER, SIDE, A, Tunnel, extra_address
from wgbind.firewall.apply import apply, remove
from wgbind.firewall.ruleset import Ruleset

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from net.host import Host

ALLOWED, FORBIDDEN = b"allowed", b"forbidden"
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
PORT = 4000
APPLIES = 150
PACE = 0.0005
"""Seconds between the packets of one stream; four streams share the machine's processors."""


class Streams:
    """UDP in all directions: a new flow a packet, so that each has to be judged and translated."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._over = threading.Event()
        self._stack = ExitStack()
        self.sent = 0
        self.arrived: set[int] = set()
        self.untranslated: set[str] = set()
        self.leaked = 0

    def __enter__(self) -> Self:
        tunnel = self._tunnel
        threads = [
            threading.Thread(target=function, args=arguments)
            for function, *arguments in (
                (self._receive, tunnel.lan, LAN[0]),
                (self._receive, tunnel.side, SIDE[0]),
                (self._receive, tunnel.a, A[0]),
                (self._send, tunnel.a, A[0], LAN[0], ALLOWED),
                (self._send, tunnel.a, A[0], SIDE[0], FORBIDDEN),
                (self._send, tunnel.lan, LAN[0], A[0], FORBIDDEN),
                (self._send, tunnel.a, "10.99.0.1", LAN[0], FORBIDDEN),
            )
        ]
        self._stack.enter_context(extra_address(tunnel.a, "10.99.0.1"))
        for thread in threads:
            thread.start()
            self._stack.callback(thread.join)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._stack.close()

    def _send(self, host: Host, source: str, destination: str, word: bytes) -> None:
        number = 0
        with host.call(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sock:
            sock.bind((source, 0))
            while not self._over.is_set():
                data = struct.pack("!Q", number) + word
                header = struct.pack("!HHHH", 1024 + number % 60000, PORT, 8 + len(data), 0)
                sock.sendto(header + data, (destination, 0))
                number += 1
                time.sleep(PACE)
        if word == ALLOWED:
            self.sent = number

    def _receive(self, host: Host, address: str) -> None:
        with host.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
            except PermissionError:  # root of a user namespace only
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
            sock.bind((address, PORT))
            sock.settimeout(0.5)
            while True:
                try:
                    data, (source, _) = sock.recvfrom(100)
                except TimeoutError:
                    if self._over.is_set():
                        return
                    continue
                if data[8:] == FORBIDDEN:
                    self.leaked += 1
                    continue
                self.arrived.add(struct.unpack("!Q", data[:8])[0])
                if source != LAN_SERVER[0]:
                    self.untranslated.add(source)


def stream(replace: Callable[[Tunnel, Ruleset], object]) -> Streams:
    """Replace a ruleset many times under traffic and return what arrived of it."""
    with Tunnel() as tunnel:
        tunnel.tell_outside_the_way()
        rulesets = [
            Ruleset(tunnel.name, ADDRESSES, egress=egress, host=host)
            for egress, host in ((("lan",), True), (("eth9", "lan"), False))
        ]
        tunnel.server.call(apply, rulesets[1])
        with Streams(tunnel) as streams:
            for number in range(APPLIES):
                replace(tunnel, rulesets[number % 2])
        return streams


def test_nothing_is_lost_and_nothing_leaks() -> None:
    streams = stream(lambda tunnel, ruleset: tunnel.server.call(apply, ruleset))
    assert streams.sent > 1000
    assert streams.arrived == set(range(streams.sent))
    assert streams.untranslated == set()
    assert streams.leaked == 0


def test_two_transactions_would_leak() -> None:
    """The check above can fail."""

    def remove_and_apply(tunnel: Tunnel, ruleset: Ruleset) -> None:
        tunnel.server.call(remove, tunnel.name)
        tunnel.server.call(apply, ruleset)

    streams = stream(remove_and_apply)
    assert streams.leaked > 0
