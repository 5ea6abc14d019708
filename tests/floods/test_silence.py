"""Nothing that is not authenticated is answered, whatever its size and kind.

friend ─────────── server ─────────── enemy
"""

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest

from floods.messages import junk, with_mac1
from floods.siege import Attack, Siege, ip_packet, random_source
from harness import PORT, count_packets, ping

LARGEST = 65_507
"""Bytes of payload of an IPv4 datagram."""

RATE, COUNT = 10_000, 5_000
"""Datagrams a second, and of one attack."""

GROWTH = 16 << 20
"""Bytes by which an attack may make the server grow; queues and tables have bounds below that."""


@contextmanager
def unanswered(hosts: Siege) -> Iterator[None]:
    """Assert that within this block the enemy gets no answer and the friend keeps his session."""
    before, endpoint = hosts.resident(), hosts.endpoint()
    with (
        count_packets(hosts.enemy, f"udp sport {PORT}") as answers,
        count_packets(hosts.enemy, "icmp type destination-unreachable") as errors,
    ):
        yield
        assert answers() == 0
        assert errors() == 0
    assert hosts.server.process.poll() is None
    assert hosts.resident() - before < GROWTH
    assert hosts.endpoint() == endpoint


def by_datagrams(hosts: Siege) -> dict[str, Callable[[], bytes]]:
    """Return what makes the datagrams of each attack."""
    key = hosts.server.public_key()
    messages = [with_mac1(os.urandom(116), key), *(junk(kind, key) for kind in (1, 2)), junk(4)]
    pieces = cycle([message[:cut] for message in messages for cut in range(1, len(message))])
    kinds = cycle(range(6))
    sizes = cycle([149, 1000, 1420, 1473, 9000, 30_000, LARGEST])
    return {
        "wrong MAC1": lambda: junk(1 + next(kinds) % 2),
        "cookie replies and data": lambda: junk(3 + next(kinds) % 2),
        "truncated": lambda: next(pieces),
        "oversize": lambda: (struct.pack("<I", next(kinds)) + os.urandom(LARGEST))[: next(sizes)],
    }


@pytest.mark.parametrize(
    ("attack", "count"),
    [
        ("wrong MAC1", COUNT),
        ("cookie replies and data", COUNT),
        ("truncated", COUNT),
        ("oversize", 500),
    ],
)
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_floods(hosts: Siege, attack: str, count: int, family: str) -> None:
    make = by_datagrams(hosts)[attack]
    with unanswered(hosts), hosts.connection(getattr(hosts.wall, family)) as sock:
        with Attack(lambda: sock.send(make()), min(RATE, count)) as running:
            assert hosts.goes_on()
            running.reach(count)
        assert running.refused == 0


def test_fragments(hosts: Siege) -> None:
    """First parts without a rest, rests without a first part, and parts that overlap."""
    target = hosts.wall.ipv4
    initiation = junk(1, hosts.server.public_key())
    whole = struct.pack("!HHHH", 4242, PORT, 8 + len(initiation), 0) + initiation

    def parts() -> Iterator[bytes]:
        while True:
            source = random_source()
            yield ip_packet(source, target, whole[:64], fragment=0x2000)
            yield ip_packet(source, target, whole[64:], fragment=64 // 8)
            yield ip_packet(source, target, whole[56:], fragment=56 // 8)

    each = parts()
    with (
        unanswered(hosts),
        hosts.raw_socket() as sock,
        Attack(lambda: sock.sendto(next(each), (target, 0)), RATE) as running,
    ):
        assert hosts.goes_on()
        running.reach(COUNT)


def test_every_size_from_0_to_65507(hosts: Siege) -> None:
    """Each size once, with each type of message in turn, read by the server and not answered."""
    server = hosts.host
    noise = os.urandom(LARGEST)
    datagrams = [memoryview(struct.pack("<I", kind) + noise) for kind in range(6)]
    with (
        count_packets(server, f"iifname lo udp sport {PORT}") as answers,
        count_packets(server, "iifname lo icmp type destination-unreachable") as errors,
        server.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.connect(("127.0.0.1", PORT))
        for size in range(LARGEST + 1):
            sock.send(datagrams[size % 6][:size])
            if size % 32 == 0:
                wait_until_read(hosts, 1 << 20)
        wait_until_read(hosts, 0)
        assert waiting(hosts)[1] == 0, "some were not read"
        assert ping(hosts.friend.namespace, hosts.server.inner.ipv4).lost == 0
        assert answers() == 0
        assert errors() == 0
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)


def wait_until_read(hosts: Siege, rest: int) -> None:
    """Wait until no more than so many bytes wait in the server's sockets."""
    deadline = time.monotonic() + 30
    while waiting(hosts)[0] > rest:
        assert time.monotonic() < deadline, "the server reads nothing any more"
        time.sleep(0.0005)


def waiting(hosts: Siege) -> tuple[int, int]:
    """Return the bytes that wait in the IPv4 sockets, and how many datagrams those dropped."""
    table = hosts.host.call(Path("/proc/thread-self/net/udp").read_text)
    lines = [line.split() for line in table.splitlines()]
    sockets = [line for line in lines if line[1].endswith(f":{PORT:04X}")]
    assert sockets
    return (
        sum(int(line[4].partition(":")[2], 16) for line in sockets),
        sum(int(line[-1]) for line in sockets),
    )
