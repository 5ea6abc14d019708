"""Many peers that send as fast as they can: what the server gets through to the kernel, or,
as a hub, back to the peers."""

import time
from functools import partial

from generator import Load, add_clients
from scenario import GO, HUB, SERVERS, WGBIND, Figures, Pair, Scenario
from sink import Sink
from star import star
from usage import Cpu, resident_mb

DATA_OVERHEAD = 32
"""Bytes that a data message adds to its padded packet."""


def measure(peers: int, burst: int, size: int, way: str, pair: Pair, seconds: float) -> Figures:
    """Measure `peers` that send bursts of `burst` UDP datagrams of `size` bytes `way`."""
    with star(pair.server, hosts=1) as hosts:
        server, (host,) = hosts.server, hosts.hosts
        add_clients(server, peers)
        to = "peers" if way == "hub" else server.inner.ipv4
        arguments = (hosts.endpoints[0], server.public_key(), peers, burst, size, seconds, to)
        load = Load(host, "talk", *arguments)
        assert load.line() == "ready"
        if way == "hub":
            datagram = -(-(size + 28) // 16) * 16 + DATA_OVERHEAD
            # Longer than any message of a handshake, which the clients need.
            sink = Sink.open(host, "udp sport 51820 udp length > 120", datagram)
        else:
            sink = Sink.open(server.namespace, "udp dport 5000", size)
        before, cpu, start = sink.datagrams(), Cpu(server.process.pid), time.monotonic()
        load.go()
        time.sleep(seconds * 0.9)  # the middle of it, before what is left in buffers
        arrived, used = sink.datagrams() - before, cpu.seconds()
        took = time.monotonic() - start
        load.line()
        assert arrived > 0, "nothing came through"
        return {
            "delivered (kpackets/s)": arrived / took / 1e3,
            "server (us/packet)": used / arrived * 1e6,
            "server (cores)": used / took,
            "server (MB)": resident_mb(server.process.pid),
        }


HUBS = (Pair(GO, "load"), Pair(WGBIND, "load"), Pair(HUB, "load"))

SCENARIOS = [
    Scenario("talk-100x8", partial(measure, 100, 8, 1372, "up"), SERVERS),
    Scenario("talk-1000x1", partial(measure, 1000, 1, 1372, "up"), SERVERS),
    Scenario("talk-small", partial(measure, 100, 8, 64, "up"), SERVERS),
    Scenario("hub-100x8", partial(measure, 100, 8, 1372, "hub"), HUBS),
    Scenario("hub-1000x1", partial(measure, 1000, 1, 1372, "hub"), HUBS),
    Scenario("hub-small", partial(measure, 100, 8, 64, "hub"), HUBS),
]
