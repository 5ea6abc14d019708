"""A server with a friend and an enemy.

friend ─────────── server ─────────── enemy
10.7.0.1, fd07::1  10.7.0.2, fd07::2  10.128.0.0/9, to the server, is behind it
"""

from __future__ import annotations

import ipaddress
import random
import socket
import struct
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import Self

from harness import PORT, End, Host, Link, cpu_time, ping, start_end, veth, wg
from net.host import Host as Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

BEHIND = "10.128.0.0/9"
"""Where the enemy's datagrams claim to come from."""

BEAT = 0.001
"""Seconds between two bursts of an attack."""


@dataclass(frozen=True)
class Siege:
    """The hosts of the picture.

    Attributes:
        server: The server.
        host: Its host.
        friend: A peer with a session.
        near: Its host.
        enemy: The enemy's host.
        wall: The server's addresses on the link to the enemy.
        gate: The server's addresses on the link to the friend.
    """

    server: End
    host: Namespace
    friend: End
    near: Namespace
    enemy: Namespace
    wall: Host
    gate: Host

    def resident(self) -> int:
        """Return the bytes of memory that the server's program has."""
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def cpu(self, role: str) -> int:
        """Return the nanoseconds that the server's threads of this role have run."""
        return cpu_time(self.server.process.pid, role)

    def endpoint(self) -> str:
        """Return where the server believes its only peer to be."""
        return wg(self.host, "show", self.server.interface, "endpoints").split()[1]

    def goes_on(self) -> bool:
        """Whether most of the friend's packets are answered: a flood may fill a socket's buffer."""
        pings = ping(self.near, self.server.inner.ipv4, count=20, interval=0.05, deadline=3)
        return pings.received > 10

    def connection(self, address: str | None = None) -> socket.socket:
        """Return the enemy's socket towards the server, which tells of every answer."""
        address = address or self.wall.ipv4
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = self.enemy.call(socket.socket, family, socket.SOCK_DGRAM)
        sock.connect((address, PORT))
        return sock

    def raw_socket(self) -> socket.socket:
        """Return the enemy's socket for IPv4 packets with a header of his own."""
        return self.enemy.call(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


@contextmanager
def siege(workers: int = 1) -> Iterator[Siege]:
    """Build the hosts of the picture; the server has so many workers, the friend a session."""
    with ExitStack() as stack:
        near, middle, far = (
            stack.enter_context(Namespace(role)) for role in ("friend", "server", "enemy")
        )
        gate, wall = Link.random(), Link.random()
        for host, name, link in ((near, "to-friend", gate), (far, "to-enemy", wall)):
            addresses = (link.host(2).with_prefix(), link.host(1).with_prefix())
            veth(host, middle, ("uplink", name), addresses)
            middle.sysctl(f"net.ipv4.conf.{name}.rp_filter", "0")
        middle.sysctl("net.ipv4.conf.all.rp_filter", "0")
        middle.ip("route", "add", BEHIND, "via", wall.host(2).ipv4)
        inner, env = Host("10.7.0.2", "fd07::2"), {"WGBIND_WORKERS": str(workers)}
        server = start_end(middle, "wgbind-device", inner, env=env)
        friend = start_end(near, "wgbind-device", Host("10.7.0.1", "fd07::1"))
        for end, other in ((server, friend), (friend, server)):
            end.add_peer(other.public_key(), f"{other.inner.ipv4}/32", f"{other.inner.ipv6}/128")
        networks = (f"{server.inner.ipv4}/32", f"{server.inner.ipv6}/128")
        friend.add_peer(server.public_key(), *networks, endpoint=f"{gate.host(1).ipv4}:{PORT}")
        assert ping(near, server.inner.ipv4).received > 0
        yield Siege(server, middle, friend, near, far, wall.host(1), gate.host(1))


class Attack:
    """Datagrams at a pace, from a thread, until the block is left.

    Attributes:
        sent: How many were sent so far.
        refused: How often a connected socket was told that nobody listens.

    Args:
        send: Sends the next one.
        rate: Datagrams a second, as far as the machine keeps up.
    """

    def __init__(self, send: Callable[[], object], rate: int) -> None:
        self.sent = self.refused = 0
        self._send, self._rate = send, rate
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def reach(self, sent: int) -> None:
        """Wait until so many are sent."""
        while self.sent < sent:
            assert self._thread.is_alive()
            time.sleep(0.01)

    def _run(self) -> None:
        start = time.monotonic()
        while not self._over.is_set():
            due = int((time.monotonic() - start) * self._rate)
            # On a busy machine some are missing rather than all at once.
            for _ in range(min(due - self.sent, self._rate // 20)):
                try:
                    self._send()
                except ConnectionRefusedError:
                    self.refused += 1
                except BlockingIOError:
                    break
                self.sent += 1
            time.sleep(BEAT)


def datagram(source: str, target: str, payload: bytes) -> bytes:
    """Make an IPv4 packet with a UDP datagram from a random port; the kernel fills the rest in."""
    port = random.randrange(1024, 1 << 16)  # noqa: S311
    udp = struct.pack("!HHHH", port, PORT, 8 + len(payload), 0) + payload
    return ip_packet(source, target, udp)


def ip_packet(source: str, target: str, payload: bytes, *, fragment: int = 0) -> bytes:
    """Make an IPv4 packet of UDP, or a fragment of one.

    Args:
        source: Where it claims to come from.
        target: Where it goes.
        payload: What follows the header.
        fragment: The field of flags and offset: 0x2000 means that more follow.
    """
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(payload),
        random.randrange(1, 1 << 16),  # noqa: S311
        fragment,
        64,
        socket.IPPROTO_UDP,
        0,
        socket.inet_aton(source),
        socket.inet_aton(target),
    )
    return head + payload


def random_source() -> str:
    """Draw an address of those behind the enemy."""
    number = random.randrange(1, 1 << 23)  # noqa: S311
    return str(ipaddress.IPv4Network(BEHIND)[number])
