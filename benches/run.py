"""Measure wgbind beside wireguard-go, gotatun and boringtun-cli on this machine.

Each pair of programs is measured once a round, in turn, so that a slow minute of the
machine hits all of them: only ratios within one run mean something. Run it with
`make bench ARGS=...`.
"""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

from harness import leftovers
from report import Rounds, plot, table
from scenarios import ALL

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PLOTTED = ("Gbit/s", "kpackets/s", "s/GB", "ms")


def write(rounds: Rounds, options: argparse.Namespace) -> None:
    """Print the table; keep it, the figures and the plots in results/."""
    print("\n" + table(rounds))
    RESULTS.mkdir(exist_ok=True)
    base = RESULTS / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    about = {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "command": "make bench ARGS='" + " ".join(sys.argv[1:]) + "'",
        "seconds": options.seconds,
    }
    figures = json.dumps({"about": about, "rounds": rounds}, indent=1)
    base.with_suffix(".json").write_text(figures)
    base.with_suffix(".md").write_text(table(rounds) + "\n")
    for unit in PLOTTED:
        if f"({unit})" in figures:
            name = unit.lower().replace("/", "-per-")
            Path(f"{base}-{name}.svg").write_text(plot(rounds, unit))
    print(f"\nfigures and plots: {base}*")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [scenario.name for scenario in ALL]
    parser.add_argument("scenarios", nargs="*", help=f"some of: {', '.join(names)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--seconds", type=float, default=3, help="of each transfer (default: 3)")
    parser.add_argument("--only", metavar="PROGRAM", action="append", help="pairs of this server")
    options = parser.parse_args()
    unknown = set(options.scenarios) - set(names)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}: choose from {', '.join(names)}")

    # Both drop root's rights otherwise; boringtun-cli is fastest with one thread.
    os.environ |= {"WG_SUDO": "true", "WG_THREADS": "1"}
    os.environ["PATH"] = f"{sys.prefix}/bin:{HERE / 'programs'}:{os.environ['PATH']}"

    rounds: dict[str, dict[str, list[dict[str, float]]]] = {}
    for number in range(options.rounds):
        for scenario in ALL:
            if options.scenarios and scenario.name not in options.scenarios:
                continue
            for pair in scenario.pairs:
                if options.only and pair.server not in options.only:
                    continue
                try:
                    figures = dict(scenario.run(pair, options.seconds))
                except (AssertionError, OSError) as error:
                    # One program's failure is a result too, and no reason to lose the others'.
                    print(f"{scenario.name}: {pair}: FAILED: {error}", file=sys.stderr, flush=True)
                    continue
                rounds.setdefault(scenario.name, {}).setdefault(str(pair), []).append(figures)
                line = ", ".join(f"{name} {value:.3g}" for name, value in figures.items())
                progress = f"round {number + 1}/{options.rounds}"
                print(f"{progress}: {scenario.name}: {pair}: {line}", flush=True)
    assert leftovers() == []
    write(rounds, options)


if __name__ == "__main__":
    main()
