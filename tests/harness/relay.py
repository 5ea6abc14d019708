"""A network that loses, repeats and reorders datagrams, between a client and a server.

Usage: relay.py PORT ADDRESS PORT SEED [HOLD]

It listens on 127.0.0.1 at the first port and passes datagrams on to the server at the second, and
back to whoever sent last. With HOLD it does nothing to them but to hold the messages of handshakes
for so many seconds. On SIGTERM it prints what it did as JSON.
"""

import contextlib
import heapq
import json
import random
import select
import signal
import socket
import sys
import time

SO_RCVBUFFORCE = 33
"""socket(7); Python has no name for it."""

INITIATION, DATA = 1, 4
"""First bytes of messages. Data is meddled with: a handshake that is lost takes 5 s."""

LOST, REPEATED, DELAYED = 0.01, 0.01, 0.01
"""What part of them."""

MAX_DELAY = 0.004
"""Seconds."""

LIFE = 300.0
"""Seconds after which it ends by itself, should its test have died."""


class Relay:
    """Both sockets, and what is on its way."""

    def __init__(self, port: int, server: tuple[str, int], seed: int, hold: float) -> None:
        self.random = random.Random(seed)  # noqa: S311  not for secrets
        self.near, self.far = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.near, self.far):
            with contextlib.suppress(PermissionError):  # root of a user namespace only
                sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            sock.setblocking(False)
        self.near.bind(("127.0.0.1", port))
        self.far.connect(server)
        self.client: tuple[str, int] | None = None
        self.delayed: list[tuple[float, int, bool, bytes]] = []
        self.counts = {"passed": 0, "lost": 0, "repeated": 0, "delayed": 0}
        self.hold = hold
        if hold:
            self.counts["crossed"] = 0

    def turn(self) -> None:
        """Wait for datagrams, and pass on what is due."""
        wait = self.delayed[0][0] - time.monotonic() if self.delayed else 0.1
        readable, _, _ = select.select([self.near, self.far], [], [], max(0.0, wait))
        for sock in readable:
            with contextlib.suppress(BlockingIOError):
                for _ in range(64):
                    datagram, address = sock.recvfrom(65535)
                    if sock is self.near:
                        self.client = address
                    self.decide(datagram, sock is self.near)
        while self.delayed and self.delayed[0][0] <= time.monotonic():
            _, _, up, datagram = heapq.heappop(self.delayed)
            self.send(datagram, up)

    def decide(self, datagram: bytes, up: bool) -> None:
        """Draw what becomes of a datagram."""
        self.counts["passed"] += 1
        if self.hold:
            self.hold_back(datagram, up)
            return
        drawn = self.random.random() if datagram[0] == DATA else 1.0
        if drawn < LOST:
            self.counts["lost"] += 1
        elif drawn < LOST + DELAYED:
            self.counts["delayed"] += 1
            due = time.monotonic() + self.random.random() * MAX_DELAY
            heapq.heappush(self.delayed, (due, self.counts["passed"], up, datagram))
        else:
            self.send(datagram, up)
            if drawn < LOST + DELAYED + REPEATED:
                self.counts["repeated"] += 1
                self.send(datagram, up)

    def hold_back(self, datagram: bytes, up: bool) -> None:
        """Hold a handshake's message; count the initiations that meet one on its way back."""
        if datagram[0] == DATA:
            self.send(datagram, up)
            return
        if datagram[0] == INITIATION:
            self.counts["crossed"] += any(
                held[0] == INITIATION and held_up != up for _, _, held_up, held in self.delayed
            )
        due = time.monotonic() + self.hold
        heapq.heappush(self.delayed, (due, self.counts["passed"], up, datagram))

    def send(self, datagram: bytes, up: bool) -> None:
        """Pass a datagram on; one that does not fit is lost like others."""
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            if up:
                self.far.send(datagram)
            elif self.client is not None:
                self.near.sendto(datagram, self.client)


def main() -> None:
    """Relay until SIGTERM."""
    port, address, server_port, seed, *hold = sys.argv[1:]
    relay = Relay(int(port), (address, int(server_port)), int(seed), float(hold[0] if hold else 0))
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    deadline = time.monotonic() + LIFE
    while not ended and time.monotonic() < deadline:
        relay.turn()
    print(json.dumps(relay.counts))


if __name__ == "__main__":
    main()
