"""Changes of the rules under traffic: at no moment is more let through, or less."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from typing_extensions import Self

from harness import backlog_drops
from net.policies import Peer, policy
from net.tunnel import LAN, LAN_SERVER, SIDE, SIDE_SERVER, A, B, Tunnel, extra_address
from wgbind.firewall.apply import Firewall, remove

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from net.host import Host
    from wgbind.firewall.policy import Policy

ALLOWED, FORBIDDEN, SOMETIMES = b"allowed", b"forbidden", b"sometimes"
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
PORT = 4000
CHANGES = 1000
PACE = 0.0005
"""Seconds between the packets of one stream; six streams share the machine's processors."""


class Streams:
    """UDP in all directions: a new flow a packet, so that each has to be judged and translated."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._over = threading.Event()
        self._all_sent = threading.Event()
        self._stack = ExitStack()
        self._dropped = backlog_drops()
        self.sent = 0
        self.arrived: set[int] = set()
        self.untranslated: set[str] = set()
        self.leaked = 0
        self.sometimes = 0
        self.dropped = 0

    def __enter__(self) -> Self:
        tunnel = self._tunnel
        threads = [
            threading.Thread(target=function, args=arguments)
            for function, *arguments in (
                (self._receive, tunnel.lan, LAN[0]),
                (self._receive, tunnel.side, SIDE[0]),
                (self._receive, tunnel.a, A[0]),
                (self._send, tunnel.a, A[0], LAN[0], ALLOWED),
                (self._send, tunnel.b, B[0], LAN[0], FORBIDDEN),
                (self._send, tunnel.a, A[0], SIDE[0], SOMETIMES),
                (self._send, tunnel.b, B[0], SIDE[0], FORBIDDEN),
                (self._send, tunnel.lan, LAN[0], A[0], FORBIDDEN),
                (self._send, tunnel.a, "10.99.0.1", LAN[0], FORBIDDEN),
            )
        ]
        self._stack.enter_context(extra_address(tunnel.a, "10.99.0.1"))
        # In reverse: first who sends ends, then who receives.
        for number, thread in enumerate(threads):
            thread.start()
            self._stack.callback(thread.join)
            if number == 2:
                self._stack.callback(self._all_sent.set)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._stack.close()
        self.dropped = backlog_drops() - self._dropped

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
                    if self._all_sent.is_set():
                        return
                    continue
                if data[8:] == FORBIDDEN:
                    self.leaked += 1
                    continue
                if data[8:] == ALLOWED:
                    self.arrived.add(struct.unpack("!Q", data[:8])[0])
                else:
                    self.sometimes += 1
                if source not in {LAN_SERVER[0], SIDE_SERVER[0]}:
                    self.untranslated.add(source)


def policies(tunnel: Tunnel) -> list[Policy]:
    """Policies that all let a reach the lan, and b not, for ever other reasons.

    A mixture of any two of them, such as the rules of one and the groups of the other, would let b
    pass or keep a back.
    """
    rules = [
        "deny black -> internet",
        "deny blue -> internet : udp",
        "allow red -> internet",
        "allow green -> internet : udp",
        "deny peer:a -> internet",
    ]
    others = tuple(
        Peer.of(f"p{number}", "red blue", f"10.77.0.{number}", f"fd77::{number:x}")
        for number in range(10, 200)
    )
    router = Peer.of("router", "green", "10.77.0.9", "10.90.0.0/16")
    variants = [
        (("red", "black"), others, rules),
        (("red", "black"), others[1:], rules),
        (("green", "blue"), others[1:], rules),
        (("green", "blue"), others[1:], ["allow green -> internet : tcp/9, udp", *rules]),
        (("green", "black"), others[:100], rules[1:3] + rules[:1] + rules[3:]),
        (("red", "blue"), (), rules),
        (("red green", "blue black"), others, [*rules[:-1], "deny 10.77.0.2 -> any"]),
    ]
    found = [
        policy(
            tunnel.name,
            groups=["red", "green", "blue", "black"],
            rules=rules,
            egress=egress,
            members=(Peer.of("a", of_a, *A), Peer.of("b", of_b, *B), *rest),
        )
        for (of_a, of_b), rest, rules in variants
        for egress in (("lan",), ("side", "lan"))
    ]
    routed = replace(found[0], members=(*found[0].members, router))
    return [
        *found,
        replace(routed, members=(*routed.members[:-1], replace(router, groups=frozenset()))),
    ]


def stream(changes: int, change: Callable[[Tunnel, Firewall, Policy], object]) -> Streams:
    """Change the policy under traffic and return what arrived of it."""
    with Tunnel() as tunnel, tunnel.server.call(Firewall, tunnel.name) as firewall:
        tunnel.tell_outside_the_way()
        variants = policies(tunnel)
        firewall.apply(variants[-1])
        with Streams(tunnel) as streams:
            for number in range(changes):
                change(tunnel, firewall, variants[number % len(variants)])
        return streams


def test_nothing_is_lost_and_nothing_leaks() -> None:
    streams = stream(CHANGES, lambda _, firewall, wanted: firewall.apply(wanted))
    assert streams.sent > CHANGES / 2
    lost = set(range(streams.sent)) - streams.arrived
    assert len(lost) <= streams.dropped
    assert streams.sometimes > CHANGES / 10
    assert streams.untranslated == set()
    assert streams.leaked == 0


def test_two_transactions_would_leak() -> None:
    """The check above can fail."""

    def remove_and_apply(tunnel: Tunnel, firewall: Firewall, wanted: Policy) -> None:
        tunnel.server.call(remove, tunnel.name)
        firewall.apply(wanted)

    streams = stream(CHANGES // 20, remove_and_apply)
    assert streams.leaked > 0
