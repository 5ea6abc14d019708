"""Round trips: through an idle tunnel, and of one peer while another one transfers."""

import re
import statistics

from harness import End, iperf3, ping
from scenario import BOTH_ENDS, Figures, Pair, Scenario
from star import star

INTERVAL = 0.01
"""Seconds between two echo requests."""


def round_trips(client: End, server: End, seconds: float) -> list[float]:
    """Ping the server; return the round trips in ms."""
    options = ["-n", "-i", str(INTERVAL), "-c", str(round(seconds / INTERVAL)), "-W", "1"]
    result = client.namespace.run(["ping", *options, server.inner.ipv4], check=False, timeout=60)
    times = [float(time) for time in re.findall(r"time=([\d.]+) ms", result.stdout)]
    assert times, f"no answer came back: {result.stdout}"
    return times


def measure(pair: Pair, seconds: float) -> Figures:
    """Measure the idle tunnel, then beside a transfer to the server, then beside one from it."""
    figures = {}
    with star(pair.server, pair.client, pair.client) as hosts:
        (one, two), server = hosts.clients, hosts.server
        for client in (one, two):
            ping(client.namespace, server.inner.ipv4)  # the handshakes
        for name, reverse in {"idle": None, "beside up": False, "beside down": True}.items():
            transfer = None
            if reverse is not None:
                ends = (one.namespace, server.namespace, server.inner.ipv4)
                transfer = iperf3(*ends, seconds=seconds + 1, reverse=reverse)
            times = round_trips(two, server, seconds)
            if transfer is not None:
                transfer.result()
            percentiles = statistics.quantiles(times, n=100)
            figures[f"{name}, p50 (ms)"] = percentiles[49]
            figures[f"{name}, p99 (ms)"] = percentiles[98]
    return figures


SCENARIOS = [Scenario("ping", measure, BOTH_ENDS)]
