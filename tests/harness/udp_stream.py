"""Send or receive numbered UDP datagrams until SIGTERM; then print the count or the numbers.

Usage: udp_stream.py send ADDRESS PORT RATE | udp_stream.py receive 4|6 PORT
"""

import contextlib
import json
import signal
import socket
import struct
import sys
import time

SO_RCVBUFFORCE = 33
"""socket(7); Python has no name for it."""

LIFE = 60.0
"""Seconds after which it ends by itself, should its test have died."""

deadline = time.monotonic() + LIFE


def send(address: str, port: int, rate: int) -> None:
    """Send datagrams that carry 0, 1, 2 and so on; print how many."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    number = 0
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((address, port))
        start = ready()
        while time.monotonic() < deadline:
            sock.send(struct.pack("!Q", number).ljust(200, b"."))
            number += 1
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
    print(number)


def receive(family: str, port: int) -> None:
    """Receive datagrams; print their numbers as a JSON list."""
    numbers: list[int] = []
    kind = socket.AF_INET6 if family == "6" else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as sock:
        # A receiver that waits for its turn on a busy machine must not look like a lossy tunnel.
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        except PermissionError:  # root of a user namespace only
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        sock.bind(("::" if family == "6" else "0.0.0.0", port))
        sock.settimeout(0.1)
        ready()
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                numbers.append(struct.unpack("!Q", sock.recv(65535)[:8])[0])
    print(json.dumps(numbers))


def ready() -> float:
    """Say that SIGTERM will be heard from now on; return the time."""
    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    return time.monotonic()


def end(*_: object) -> None:
    """Let the loops run out."""
    global deadline
    deadline = 0.0


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        receive(sys.argv[2], int(sys.argv[3]))
