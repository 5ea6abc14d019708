"""Send or receive numbered UDP datagrams until SIGTERM; then print the count or the numbers.

Usage: udp_stream.py send ADDRESS PORT RATE [LIFE] | udp_stream.py receive 4|6 PORT [LIFE]

It ends by itself after LIFE seconds (60), should its test have died.
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

deadline = time.monotonic() + 60


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
    role, *arguments = sys.argv[1:]
    words = 3 if role == "send" else 2
    for life in arguments[words:]:
        deadline = time.monotonic() + float(life)
    if role == "send":
        send(arguments[0], int(arguments[1]), int(arguments[2]))
    else:
        receive(arguments[0], int(arguments[1]))
