"""A transfer beside a flood of initiations from random sources, each with a right MAC1."""

import time
from functools import partial

from generator import Load
from harness import PORT, count_packets, iperf3, ping
from scenario import GO, WGBIND, Figures, Pair, Scenario
from star import Star, star
from usage import resident_mb

SOURCES = "10.128.0.0/9"

DEAF = PORT + 1
"""A port for the same flood that nobody listens on: what it costs the machine, not the server."""

WARM_UP = 3.0
"""Seconds of the flood before the transfer, in which queues fill."""


def measure(rate: int, pair: Pair, seconds: float) -> Figures:
    """Measure the transfer alone, beside a flood that the server does not see, and beside its own.

    The flood's program and the kernel's work for it take from both ends of the transfer alike.
    """
    with star(pair.server, pair.client, hosts=1) as hosts:
        (client,), server = hosts.clients, hosts.server
        via = hosts.hosts[0].ip_json("-4", "address", "show", "uplink")[0]["addr_info"][0]["local"]
        for name in ("all", "link1"):
            server.namespace.sysctl(f"net.ipv4.conf.{name}.rp_filter", "0")
        server.namespace.ip("route", "add", SOURCES, "via", via)
        # Nobody answers for the sources, so that what the server sends them ends at that host.
        drop = f"add rule inet deaf in udp dport {DEAF} drop"
        chain = "add chain inet deaf in { type filter hook prerouting priority raw; }"
        server.namespace.run(["nft", f"add table inet deaf; {chain}; {drop}"])
        ping(client.namespace, server.inner.ipv4)  # the handshake
        before = resident_mb(server.process.pid, peak=False)
        beside_none, _ = transfer(hosts, seconds)
        beside_other, _ = transfer(hosts, seconds, rate=rate, port=DEAF)
        with count_packets(hosts.hosts[0], f"udp sport {PORT}") as answers:
            beside, flood = transfer(hosts, seconds, rate=rate, port=PORT)
            answered = answers()
        return {
            "alone (Gbit/s)": beside_none / 1e9,
            "kept beside a flood to nobody (%)": beside_other / beside_none * 100,
            "of that, kept under the flood (%)": beside / beside_other * 100,
            "flood (1/s)": flood / (WARM_UP + seconds),
            "answers (1/s)": answered / (WARM_UP + seconds),
            "server before (MB)": before,
            "server (MB)": resident_mb(server.process.pid),
            "server after (MB)": resident_mb(server.process.pid, peak=False),
        }


def transfer(hosts: Star, seconds: float, *, rate: int = 0, port: int = PORT) -> tuple[float, int]:
    """Transfer from the client to the server, beside a flood of so many a second to a port.

    Returns the bits a second that arrived, and how many messages the flood had.
    """
    (client,), server = hosts.clients, hosts.server
    flood = None
    if rate:
        target = hosts.endpoints[0].partition(":")[0] + f":{port}"
        duration = WARM_UP + seconds
        flood = Load(hosts.hosts[0], "flood", target, server.public_key(), rate, duration)
        time.sleep(WARM_UP)
    ends = (client.namespace, server.namespace, server.inner.ipv4)
    arrived = iperf3(*ends, seconds=seconds).bits_per_second()
    return arrived, 0 if flood is None else int(flood.line())


PAIRS = (Pair(GO, GO), Pair(WGBIND, WGBIND))

SCENARIOS = [
    Scenario("flood-10k", partial(measure, 10_000), PAIRS),
    Scenario("flood-50k", partial(measure, 50_000), PAIRS),
    Scenario("flood-100k", partial(measure, 100_000), PAIRS),
]
