"""What a transfer keeps of its rate while a thousand peers are added, changed and removed.

The ends of the transfer run in the session of the benchmark, on the same cores. Where the kernel
has autogroups (sched(7)) a nice value counts only within a session, so each way is measured twice:
in that session, and in one of its own, as of somebody who is logged in beside it. The server has
one of its own in any case.

Unlimited, the transfer takes all of a machine with two cores, and gives what the work takes. Over a
line of 1 Gbit/s, as rented servers have, it is full when a part of them is in use.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Topology, iperf3, program, start_network
from harness.provisioning import KEPT, WAYS
from scenario import GO, WGBIND_SERVER, Figures, Pair, Scenario
from usage import thread_seconds

if TYPE_CHECKING:
    from harness import Network

BESIDE = 3.0
"""Seconds of the transfer before each way, and after it, that it is compared with."""

# What of a server's threads moves packets.
DATA_PATH = ("worker", "handshakes")

EVENTS = 1500
"""Of a thousand peers that come and 500 that go; what changes of the others is not the device's."""

GIGABIT = ("tbf", "rate", "1gbit", "burst", "256kb", "latency", "10ms")
"""The queue of a line (tc-tbf(8)) at the client's end: it does not make up for lost time."""

LISTEN = f"""
import json, sys, time
from wgbind import Server
with Server(sys.argv[1]).events() as events:
    print("listening", flush=True)
    late = []
    for event in events:
        late.append(time.time() - event.at.timestamp())
        if len(late) == {EVENTS}:
            break
print(json.dumps(late))
"""


@dataclass(frozen=True)
class Moment:
    """How far the transfer and the server's other work are."""

    at: float
    transferred: int
    cpu: float

    @classmethod
    def now(cls, network: Network, pid: int) -> Moment:
        """Read them."""
        server = network.server
        (link,) = server.namespace.ip_json("-s", "link", "show", "dev", server.name)
        transferred = link["stats64"]["tx"]["bytes"] + link["stats64"]["rx"]["bytes"]
        threads = thread_seconds(pid)
        control = sum(threads[each] for each in threads if not each[1].startswith(DATA_PATH))
        return cls(time.monotonic(), transferred, control)

    def rate_until(self, later: Moment) -> float:
        """Return the bytes a second from here on."""
        return (later.transferred - self.transferred) / (later.at - self.at)


def provision(way: str, network: Network, place: Path, session: bool) -> None:
    """Provision, in a process of its own; leave the CPU seconds of its commands in a file."""
    if session:
        os.setsid()
    WAYS[way](network, place)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    place.with_suffix(".cpu").write_text(str(used.ru_utime + used.ru_stime))


def provisioned(way: str, network: Network, place: Path, *, session: bool) -> float:
    """Provision; return the CPU seconds of the commands."""
    place.mkdir()
    process = get_context("fork").Process(target=provision, args=(way, network, place, session))
    process.start()
    process.join()
    assert process.exitcode == 0
    return float(place.with_suffix(".cpu").read_text())


def rates(way: str, network: Network, place: Path, seconds: float, *, session: bool) -> Figures:
    """Measure the transfer before, beside and after, and what the work costs."""
    pid = network.server.status()["pid"]
    transfer = iperf3(network.hosts.a, network.hosts.server, network.ipv4, seconds=600)
    time.sleep(1)  # it has to get up to speed
    start = Moment.now(network, pid)
    time.sleep(BESIDE * seconds)
    begin = Moment.now(network, pid)
    commands = provisioned(way, network, place, session=session)
    end = Moment.now(network, pid)
    time.sleep(BESIDE * seconds)
    last = Moment.now(network, pid)
    transfer.stop()
    without = (start.rate_until(begin) + end.rate_until(last)) / 2
    label = f"{way}, own session" if session else way
    return {
        f"{label}: rate without (Gbit/s)": without * 8 / 1e9,
        f"{label}: of the rate without (%)": 100 * begin.rate_until(end) / without,
        f"{label} (s)": end.at - begin.at,
        f"{label}: CPU of the commands (s)": commands,
        f"{label}: CPU of the server, packets apart (s)": end.cpu - begin.cpu,
    }


def events(way: str, network: Network, place: Path) -> Figures:
    """Measure how late events are that are told while peers come and go, beside a transfer."""
    listener = network.hosts.server.popen(
        [program("python"), "-c", LISTEN, network.server.name], env=network.server.env
    )
    assert listener.stdout is not None
    assert listener.stdout.readline() == "listening\n"
    transfer = iperf3(network.hosts.a, network.hosts.server, network.ipv4, seconds=600)
    provisioned(way, network, place, session=False)
    late = sorted(json.loads(listener.communicate(timeout=60)[0]))
    transfer.stop()
    return {
        f"{way}: event after its cause, p50 (ms)": late[len(late) // 2] * 1e3,
        f"{way}: event after its cause, p99 (ms)": late[len(late) * 99 // 100] * 1e3,
    }


def measure(_pair: Pair, seconds: float, *, line: tuple[str, ...] = ()) -> Figures:
    """Transfer to the server over a `line`, and let each way of provisioning work meanwhile."""
    figures: dict[str, float] = {}
    # The server ends with its host, before its folder goes.
    with tempfile.TemporaryDirectory() as name, Topology() as hosts:
        folder = Path(name)
        network = start_network(hosts, folder)
        if line:
            hosts.a.run(["tc", "qdisc", "add", "dev", "uplink", "root", *line])
        for way in WAYS:
            for session in (False, True):
                place = folder / f"{way}{session}"
                figures |= rates(way, network, place, seconds, session=session)
                network.server.peer("remove", "--match", f"{KEPT}*", "--yes")
            figures |= events(way, network, folder / f"{way}Events")
            network.server.peer("remove", "--match", f"{KEPT}*", "--yes")
    return figures


PAIRS = (Pair(WGBIND_SERVER, GO),)
SCENARIOS = [
    Scenario("provisioning", measure, PAIRS),
    Scenario("provisioning-1gbit", partial(measure, line=GIGABIT), PAIRS),
]
