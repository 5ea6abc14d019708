"""Send numbered UDP datagrams until SIGTERM and print the count, or receive them.

Usage: udp_stream.py send ADDRESS PORT RATE [LIFE] | udp_stream.py receive 4|6 PORT [LIFE]

A receiver is told the count on its standard input, waits for those that are still under way, and
prints the numbers. Both end by themselves after LIFE seconds (60), should their test have died.
"""

import json
import select
import signal
import socket
import struct
import sys
import time

SO_RCVBUFFORCE = 33
"""socket(7); Python has no name for it."""

BURST = 10
"""Datagrams at once, at most: a sender that waited for its turn on a busy machine does not send all
that it missed, which would overflow queues that the even pace does not."""

QUIET = 5.0
"""Seconds of silence after which what did not come is lost."""

deadline = time.monotonic() + 60


def send(address: str, port: int, rate: int) -> None:
    """Send datagrams that carry 0, 1, 2 and so on; print how many."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    number = 0
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((address, port))
        due = ready()
        while time.monotonic() < deadline:
            sock.send(struct.pack("!Q", number).ljust(200, b"."))
            number += 1
            due = max(due + 1 / rate, time.monotonic() - BURST / rate)
            time.sleep(max(0.0, due - time.monotonic()))
    print(number)


def receive(family: str, port: int) -> None:
    """Receive datagrams until all are here; print their numbers as a JSON list."""
    numbers: set[int] = set()
    expected: int | None = None
    heard = time.monotonic()
    asked = [sys.stdin]
    kind = socket.AF_INET6 if family == "6" else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as sock:
        # A receiver that waits for its turn on a busy machine must not look like a lossy tunnel.
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        except PermissionError:  # root of a user namespace only
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        sock.bind(("::" if family == "6" else "0.0.0.0", port))
        ready()
        while time.monotonic() < deadline and (expected is None or len(numbers) < expected):
            readable, _, _ = select.select([sock, *asked], [], [], 0.1)
            if sock in readable:
                numbers.add(struct.unpack("!Q", sock.recv(65535)[:8])[0])
                heard = time.monotonic()
            elif sys.stdin in readable:
                asked = []
                if told := sys.stdin.readline():  # nobody tells who only holds the port
                    expected, heard = int(told), time.monotonic()
            elif expected is not None and time.monotonic() - heard >= QUIET:
                break
    print(json.dumps(sorted(numbers)))


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
