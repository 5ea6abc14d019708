"""Send datagrams that no peer would send; print how many, and how many were answered.

Usage: unauthenticated.py ADDRESS PORT
"""

import contextlib
import os
import socket
import sys
import time

# Around the sizes of the protocol's messages (32, 64, 92, 148) and of common MTUs, and the largest.
SIZES = sorted(
    {*range(10), 15, 16, 31, 32, 33, 48, 63, 64, 65, 91, 92, 93, 147, 148, 149, 65507}
    | set(range(50, 2001, 61))
    | {1279, 1280, 1420, 1452, 1472, 1473, 1500, 2000}
)
HEADS = (b"", *(bytes([kind, 0, 0, 0]) for kind in range(6)))


def main(address: str, port: int) -> None:
    """Send each size with each message type, and with none."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sent = answers = 0
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((address, port))
        sock.setblocking(False)
        for size in SIZES:
            for head in HEADS:
                with contextlib.suppress(BlockingIOError):
                    sock.send((head + os.urandom(size))[:size])
                    sent += 1
                answers += _answers(sock)
            time.sleep(0.001)
        time.sleep(0.5)
        answers += _answers(sock)
    print(sent, answers)


def _answers(sock: socket.socket) -> int:
    count = 0
    while True:
        try:
            sock.recv(65535)
        except BlockingIOError:
            return count
        except ConnectionRefusedError:
            pass  # ICMP port unreachable is an answer too
        count += 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
