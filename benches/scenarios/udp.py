"""Single UDP datagrams through one tunnel: the highest rate that loses at most 1 %."""

import time

from generator import Load
from harness import End, ping
from scenario import BOTH_ENDS, Figures, Pair, Scenario
from sink import Sink
from star import star
from usage import Cpu, resident_mb

SIZES = (64, 512, 1372)
PORT = 5000
LOWEST_RATE = 20_000.0
STEPS = 5
"""Halvings of the interval in which the rate lies; each asks for one more transfer."""


def lossless(client: End, server: End, rate: float, size: int, seconds: float) -> bool:
    """Whether a stream of `rate` datagrams a second arrives but for 1 %."""
    sink = Sink.open(server.namespace, f"udp dport {PORT} udp sport != 0", size)
    before = sink.datagrams()
    address = f"{server.inner.ipv4}:{PORT}"
    sent = int(Load(client.namespace, "pace", address, rate, size, seconds).line())
    time.sleep(0.2)  # what is on its way may arrive
    arrived = sink.datagrams() - before
    server.namespace.run(["nft", "delete", "table", "inet", "sink"])
    # Who cannot send at that rate has not shown that it arrives.
    return arrived >= 0.99 * rate * seconds and arrived >= 0.99 * sent


def highest_rate(client: End, server: End, size: int, seconds: float) -> float:
    """Return the highest rate that loses at most 1 %."""
    low, high = 0.0, LOWEST_RATE
    while lossless(client, server, high, size, seconds):
        low, high = high, high * 2
    for _ in range(STEPS):
        middle = (low + high) / 2
        if lossless(client, server, middle, size, seconds):
            low = middle
        else:
            high = middle
    return low


def measure(pair: Pair, seconds: float) -> Figures:
    """Measure all sizes."""
    figures = {}
    with star(pair.server, pair.client) as hosts:
        (client,), server = hosts.clients, hosts.server
        ping(client.namespace, server.inner.ipv4)  # the handshake
        cpu = Cpu(server.process.pid)
        for size in SIZES:
            rate = highest_rate(client, server, size, seconds / 5)
            figures[f"{size} bytes (kpackets/s)"] = rate / 1e3
        figures["server CPU of all (s)"] = cpu.seconds()
        figures["server (MB)"] = resident_mb(server.process.pid)
    return figures


SCENARIOS = [Scenario("udp", measure, BOTH_ENDS)]
