"""What a transfer keeps of its rate while a thousand peers are added, changed and removed."""

import tempfile
import time
from pathlib import Path

from harness import Topology, iperf3, start_network
from harness.provisioning import KEPT, WAYS
from scenario import GO, WGBIND_SERVER, Figures, Pair, Scenario

BEFORE = 3.0
"""Seconds of the transfer before the first change."""


def measure(_pair: Pair, seconds: float) -> Figures:
    """Transfer to the server; let each way of provisioning work meanwhile, and take its time."""
    figures = {}
    with Topology() as hosts, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = start_network(hosts, folder)
        for way, provision in WAYS.items():
            place = folder / way
            place.mkdir()
            transfer = iperf3(hosts.a, hosts.server, network.ipv4, seconds=BEFORE + 8 * seconds)
            begin = time.monotonic()
            time.sleep(BEFORE)
            provision(network, place)
            took = time.monotonic() - begin - BEFORE
            without: list[float] = []
            during: list[float] = []
            for interval in transfer.result()["intervals"]:
                at = interval["sum"]["start"]
                inside = BEFORE <= at <= BEFORE + took - 1
                (during if inside else without).append(interval["sum"]["bits_per_second"])
            network.server.peer("remove", "--match", f"{KEPT}*", "--yes")
            figures[f"{way} (s)"] = took
            mean = sum(without) / len(without)
            figures[f"{way}, of the rate without (%)"] = 100 * sum(during) / len(during) / mean
    return figures


SCENARIOS = [Scenario("provisioning", measure, (Pair(WGBIND_SERVER, GO),))]
