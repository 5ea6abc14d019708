"""TCP through one tunnel: to the server, from it, both ways at once; 1 and 8 streams."""

from functools import partial

from harness import End, iperf3, ping
from scenario import BOTH_ENDS, OTHERS, Figures, Pair, Scenario
from star import star
from usage import Cpu, resident_mb

DIRECTIONS: dict[str, tuple[str, ...]] = {"up": (), "down": ("-R",), "both ways": ("--bidir",)}


def transfer(client: End, server: End, seconds: float, *options: str) -> tuple[float, float]:
    """Run iperf3 from client to server; return Gbit/s, all directions, and the server's s/GB."""
    cpu = Cpu(server.process.pid)
    hosts = (client.namespace, server.namespace, server.inner.ipv4)
    end = iperf3(*hosts, seconds=seconds, options=options).result()["end"]
    used = cpu.seconds()
    sums = [end[key] for key in ("sum_received", "sum_received_bidir_reverse") if key in end]
    gigabytes = sum(entry["bytes"] for entry in sums) / 1e9
    return sum(entry["bits_per_second"] for entry in sums) / 1e9, used / gigabytes


def measure(streams: int, pair: Pair, seconds: float) -> Figures:
    """Measure all directions."""
    figures = {}
    with star(pair.server, pair.client) as hosts:
        (client,), server = hosts.clients, hosts.server
        ping(client.namespace, server.inner.ipv4)  # the handshake
        for name, options in DIRECTIONS.items():
            rate, cost = transfer(client, server, seconds, "-P", str(streams), *options)
            figures[f"{name} (Gbit/s)"] = rate
            figures[f"{name}, server (s/GB)"] = cost
        figures["server (MB)"] = resident_mb(server.process.pid)
    return figures


SCENARIOS = [
    Scenario("tcp-1", partial(measure, 1), BOTH_ENDS + OTHERS),
    Scenario("tcp-8", partial(measure, 8), BOTH_ENDS),
]
