"""Exchange bytes and datagrams with the other end, both ways at once; tell what came.

Usage: exchange.py listen|connect PORT BYTES DATAGRAMS ADDRESS...

Both ends take the same ADDRESSes, which are the listener's. For each they exchange that many
random bytes over TCP and, at the same time, that many datagrams over UDP. Each prints a JSON list
with an object for each address: the digests of the bytes "sent" and "received", the numbers of the
"datagrams" that came whole, in order of arrival, and how many came "corrupt".
"""

import errno
import hashlib
import json
import os
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SO_RCVBUFFORCE = 33
"""socket(7); Python has no name for it."""

UDP_SEGMENT = 103
"""udp(7); Python has no name for it."""

SIZES = (24, 25, 100, 512, 999, 1000, 1371, 1372)
"""Bytes of datagrams that fit into the tunnel's MTU of 1420, also over IPv6."""

LARGE = 3000
"""Bytes of a datagram that does not."""

MAX_TRAIN = 40
"""Datagrams of one size in a row."""

DIGEST = 16
"""Bytes."""

PAUSE = 0.001
"""Seconds between two trains."""

QUIET = 0.1
"""Seconds for what is on its way when the other end has sent all."""

PATIENCE = 60.0
"""Seconds for any step."""


def exchange(connection: socket.socket, datagrams: socket.socket, sizes: list[int]) -> Any:
    """Exchange with the other end of a connected pair of sockets."""
    amount, count = sizes
    content = os.urandom(amount)
    digest = hashlib.sha256()
    over = threading.Event()
    with ThreadPoolExecutor() as pool:
        received = pool.submit(receive_datagrams, datagrams, over)
        sent = pool.submit(send_datagrams, datagrams, count)

        def send_bytes() -> None:
            connection.sendall(content)
            sent.result(PATIENCE)
            connection.shutdown(socket.SHUT_WR)

        finished = pool.submit(send_bytes)
        while chunk := connection.recv(1 << 18):
            digest.update(chunk)
        over.set()
        finished.result(PATIENCE)
        return {
            "sent": hashlib.sha256(content).hexdigest(),
            "received": digest.hexdigest(),
            **received.result(PATIENCE),
        }


def send_datagrams(sock: socket.socket, count: int) -> None:
    """Send datagrams, those of one size in trains that the kernel takes as one.

    Of datagrams that do not fit into the MTU it takes no trains; it cuts them into fragments.
    """
    for train, size in trains(count):
        option = (socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", size))
        try:
            sock.sendmsg([train], [option] if len(train) > size else [])
        except OSError as error:
            if len(train) <= size or error.errno not in {errno.EINVAL, errno.EMSGSIZE}:
                raise
            for start in range(0, len(train), size):
                sock.send(train[start : start + size])
        time.sleep(PAUSE)


def trains(count: int) -> Iterator[tuple[bytes, int]]:
    """Make `count` datagrams, each with its number and a digest, in trains of one size."""
    number = 0
    while number < count:
        length = min(random.randint(1, MAX_TRAIN), count - number)  # noqa: S311
        size = random.choice(SIZES) if length > 1 else LARGE  # noqa: S311
        train = b""
        for _ in range(length):
            body = struct.pack("=Q", number) + os.urandom(size - DIGEST - 8)
            train += hashlib.blake2b(body, digest_size=DIGEST).digest() + body
            number += 1
        yield train, size


def receive_datagrams(sock: socket.socket, over: threading.Event) -> dict[str, Any]:
    """Check what comes, until it is over and quiet."""
    numbers: list[int] = []
    corrupt = 0
    sock.settimeout(QUIET)
    while True:
        try:
            datagram = sock.recv(65535)
        except TimeoutError:
            if over.is_set():
                return {"datagrams": numbers, "corrupt": corrupt}
            continue
        digest, body = datagram[:DIGEST], datagram[DIGEST:]
        if hashlib.blake2b(body, digest_size=DIGEST).digest() == digest:
            numbers += struct.unpack_from("=Q", body)
        else:
            corrupt += 1


def meet(connection: socket.socket) -> None:
    """Wait until the other end has its socket for datagrams, too: earlier ones would be refused."""
    connection.sendall(b"!")
    assert connection.recv(1) == b"!"


def datagram_socket(family: int) -> socket.socket:
    """Open a socket with room for a burst while this process waits for its turn."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    except PermissionError:  # root of a user namespace only
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    return sock


def listen(port: int, sizes: list[int], addresses: list[str]) -> Iterator[Any]:
    """Take one connection at each address after the other."""
    families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
    listeners = [
        socket.create_server((address, port), family=family)
        for address, family in zip(addresses, families, strict=True)
    ]
    print("ready", flush=True)
    for listener, family in zip(listeners, families, strict=True):
        listener.settimeout(PATIENCE)
        connection, peer = listener.accept()
        connection.settimeout(PATIENCE)
        with listener, connection, datagram_socket(family) as datagrams:
            datagrams.bind(connection.getsockname())
            datagrams.connect(peer)
            meet(connection)
            yield exchange(connection, datagrams, sizes)


def connect(port: int, sizes: list[int], addresses: list[str]) -> Iterator[Any]:
    """Connect to each address after the other."""
    for address in addresses:
        # First the UDP port, which may not be one of the tunnel's; nobody else here has one of TCP.
        with datagram_socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as datagrams:
            datagrams.connect((address, port))
            own = datagrams.getsockname()[:2]
            with socket.create_connection((address, port), PATIENCE, own) as connection:
                meet(connection)
                yield exchange(connection, datagrams, sizes)


if __name__ == "__main__":
    role, port_text, *sizes_text = sys.argv[1:5]
    run = {"listen": listen, "connect": connect}[role]
    print(json.dumps(list(run(int(port_text), [int(text) for text in sizes_text], sys.argv[5:]))))
