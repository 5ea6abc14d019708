"""wgbind beside wireguard-go on this machine: throughput and latency through a tunnel.

Each pair of ends is measured once a round, in turn, so that a slow minute of the
machine hits all of them. Run it with `make bench`; with --help it tells its options.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness import End, iperf3, leftovers, ping, tunnel

RESULTS = Path(__file__).with_name("results")

PAIRS = {
    "wireguard-go": ("wireguard-go", "wireguard-go"),
    "wgbind": ("wgbind-device", "wgbind-device"),
    "wgbind server": ("wireguard-go", "wgbind-device"),
}
"""Client's and server's program; the first pair is what the others are compared with."""

MEASURES = {"up": "Mbit/s", "down": "Mbit/s", "ping": "ms"}


def measure(client: End, server: End, seconds: float) -> dict[str, float]:
    """Measure one pair once: TCP to the server, TCP from it, round trips."""
    hosts = (client.namespace, server.namespace, server.inner.ipv4)
    ping(client.namespace, server.inner.ipv4)  # the handshake
    figures = {
        "up": iperf3(*hosts, seconds=seconds).bits_per_second() / 1e6,
        "down": iperf3(*hosts, seconds=seconds, reverse=True).bits_per_second() / 1e6,
    }
    round_trip = ping(client.namespace, server.inner.ipv4, count=100, interval=0.01)
    assert round_trip.average_ms is not None, "no answer came back"
    return {**figures, "ping": round_trip.average_ms}


def report(figures: dict[str, list[dict[str, float]]]) -> str:
    """Return a table: median, spread (lowest to highest) and ratio to the first pair."""
    lines = [f"{'':16}" + "".join(f"{f'{name} ({unit})':>34}" for name, unit in MEASURES.items())]
    reference = next(iter(figures.values()))
    for pair, rounds in figures.items():
        cells = []
        for name in MEASURES:
            values = [round_[name] for round_ in rounds]
            middle = statistics.median(values)
            ratio = middle / statistics.median(round_[name] for round_ in reference)
            cells.append(f"{middle:.4g}  {min(values):.4g}..{max(values):.4g}  x{ratio:.2f}")
        lines.append(f"{pair:16}" + "".join(f"{cell:>34}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, keep the figures in results/."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--seconds", type=float, default=3, help="of each transfer (default: 3)")
    options = parser.parse_args()

    figures: dict[str, list[dict[str, float]]] = {pair: [] for pair in PAIRS}
    for number in range(options.rounds):
        for pair, programs in PAIRS.items():
            with tunnel(*programs) as ends:
                figures[pair].append(measure(*ends, options.seconds))
            print(f"round {number + 1}/{options.rounds}: {pair}: {figures[pair][-1]}", flush=True)
    assert leftovers() == []

    print("\n" + report(figures))
    machine = {"kernel": platform.release(), "machine": platform.machine(), "cpus": os.cpu_count()}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / time.strftime("side-by-side-%Y%m%dT%H%M%SZ.json", time.gmtime())
    path.write_text(
        json.dumps({"machine": machine, "units": MEASURES, "rounds": figures}, indent=1)
    )
    print(f"\nfigures: {path}")


if __name__ == "__main__":
    main()
