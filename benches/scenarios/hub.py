"""TCP from one client by way of the server to another."""

from harness import iperf3, ping
from scenario import GO, HUB, WGBIND, Figures, Pair, Scenario
from star import star
from usage import Cpu, resident_mb


def measure(pair: Pair, seconds: float) -> Figures:
    """Measure A to B."""
    with star(pair.server, pair.client, pair.client) as hosts:
        (one, two), server = hosts.clients, hosts.server
        for client in (one, two):
            ping(client.namespace, server.inner.ipv4)  # the handshakes
        cpu = Cpu(server.process.pid)
        ends = (one.namespace, two.namespace, two.inner.ipv4)
        received = iperf3(*ends, seconds=seconds).result()["end"]["sum_received"]
        return {
            "A to B (Gbit/s)": received["bits_per_second"] / 1e9,
            "A to B, server (s/GB)": cpu.seconds() / (received["bytes"] / 1e9),
            "server (MB)": resident_mb(server.process.pid),
        }


PAIRS = (Pair(GO, GO), Pair(WGBIND, WGBIND), Pair(HUB, WGBIND), Pair(WGBIND, GO), Pair(HUB, GO))

SCENARIOS = [Scenario("hub-tcp", measure, PAIRS)]
