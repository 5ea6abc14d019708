"""Handshakes that the server answers, and 10,000 clients that come back at once."""

from generator import Load, add_clients
from harness import iperf3, ping
from scenario import GO, SERVERS, WGBIND, Figures, Pair, Scenario
from star import star
from usage import Cpu, resident_mb

CLIENTS = 1_000
RECONNECTING = 10_000

STORM = 10
"""Seconds in which all are to be served, and for which the transfer runs."""


def answer(pair: Pair, seconds: float) -> Figures:
    """Measure handshakes a second, 64 of them under way."""
    with star(pair.server, hosts=1) as hosts:
        server, (host,) = hosts.server, hosts.hosts
        add_clients(server, CLIENTS)
        cpu = Cpu(server.process.pid)
        arguments = (hosts.endpoints[0], server.public_key(), CLIENTS, seconds)
        rate = float(Load(host, "handshakes", *arguments).line())
        return {
            "answered (1/s)": rate,
            "server (us/handshake)": cpu.seconds() / (rate * seconds) * 1e6,
        }


def reconnect(pair: Pair, seconds: float) -> Figures:
    """Measure how long it takes to serve all, and what a transfer keeps while that may take."""
    with star(pair.server, pair.client, hosts=1) as hosts:
        (client,), server, (host,) = hosts.clients, hosts.server, hosts.hosts
        add_clients(server, RECONNECTING)
        ping(client.namespace, server.inner.ipv4)  # the handshake
        ends = (client.namespace, server.namespace, server.inner.ipv4)
        alone = iperf3(*ends, seconds=seconds).bits_per_second()
        beside = iperf3(*ends, seconds=STORM)
        storm = Load(host, "connect", hosts.endpoints[0], server.public_key(), RECONNECTING)
        kept = beside.bits_per_second() / alone
        return {
            "all served (s)": float(storm.line()),
            "a transfer keeps (%)": kept * 100,
            "server (MB)": resident_mb(server.process.pid),
        }


SCENARIOS = [
    Scenario("handshakes", answer, SERVERS),
    Scenario("reconnect", reconnect, (Pair(GO, GO), Pair(WGBIND, WGBIND))),
]
