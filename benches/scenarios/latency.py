"""Round trips: through an idle tunnel, and of one peer while another one transfers."""

import re
import statistics

from harness import End, iperf3, ping
from scenario import BOTH_ENDS, Figures, Pair, Scenario
from star import star

INTERVAL = 0.01
"""Seconds between two echo requests."""


def round_trips(client: End, server: End, seconds: float) -> list[float]:
    """Ping the server; return the round trips in ms.

    By fping(8), which sleeps in between: ping(8) takes all of a core when it sends this often.
    """
    count, interval = round(seconds / INTERVAL), round(INTERVAL * 1000)
    argv = ["fping", "-q", "-C", str(count), "-p", str(interval), "-t", "1000", server.inner.ipv4]
    result = client.namespace.run(argv, check=False, timeout=60)
    times = [float(time) for time in re.findall(r" (\d[\d.]*)(?= )", result.stderr + " ")]
    assert times, f"no answer came back: {result.stderr}"
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
