"""How long it takes to add peers and to look at them; `wg`, wg-quick and wireguard-go beside it."""

from __future__ import annotations

import base64
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from harness import Topology, Wgbind, program, start_device, wg
from harness.names import interface_name
from scenario import GO, WGBIND_SERVER, Figures, Pair, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")

PEERS = 10_000
REPEATED = 5

WITH_API = """
import sys, time, wgbind
with wgbind.connect(sys.argv[1]) as server:
    server.peers.add("api")
    start = time.perf_counter()
    server.peers.add("again")
    print(time.perf_counter() - start)
"""


def seconds_of(call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call(*args, **kwargs)
    return time.perf_counter() - start


def address(number: int) -> str:
    """Return the address of a peer in 10.64.0.0/16."""
    return f"10.64.{number >> 8}.{number & 255}"


def with_wg(_pair: Pair, _seconds: float) -> Figures:
    """Measure `wg` and wg-quick; keys are there already."""
    with Topology() as hosts, tempfile.TemporaryDirectory() as name:
        host, folder, interface = hosts.server, Path(name), interface_name()
        keys = [base64.b64encode(os.urandom(32)).decode() for _ in range(PEERS + REPEATED)]
        start_device(host, [program(GO), "-f", interface], interface)
        sections = [
            f"[Peer]\nPublicKey = {key}\nAllowedIPs = {address(number + 2)}/32\n"
            for number, key in enumerate(keys[:PEERS])
        ]
        file = folder / "peers.conf"
        file.write_text("\n".join(sections))
        every = seconds_of(wg, host, "addconf", interface, str(file))
        ones = [
            seconds_of(
                wg, host, "set", interface, "peer", key, "allowed-ips", f"{address(number)}/32"
            )
            for number, key in enumerate(keys[PEERS:], PEERS + 2)
        ]
        listed = seconds_of(wg, host, "show", interface, "dump")
        shown = seconds_of(wg, host, "show", interface)
        quick = folder / f"{interface_name()}.conf"
        quick.touch(0o600)
        private = base64.b64encode(os.urandom(32)).decode()
        head = f"[Interface]\nPrivateKey = {private}\nAddress = 10.64.0.1/32\n"
        quick.write_text("\n".join([head, *sections]))
        env = {**os.environ, "WG_QUICK_USERSPACE_IMPLEMENTATION": program(GO)}
        host.owns(quick.stem)
        up = seconds_of(host.run, ["wg-quick", "up", str(quick)], env=env, timeout=600)
        host.run(["wg-quick", "down", str(quick)], env=env)
        return {
            "start the program (ms)": starts(host.run, ["wg", "--version"]),
            "10,000 peers (s)": every,
            "10,000 peers, with interface and routes (s)": up,
            "one more (ms)": statistics.median(ones) * 1e3,
            "list 10,000 (s)": listed,
            "status (s)": shown,
        }


def with_wgbind(_pair: Pair, _seconds: float) -> Figures:
    """Measure `wgbind`, which makes keys and addresses, keeps all in its store, and has rules."""
    with Topology() as hosts, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Wgbind(hosts.server, folder)
        server.run("server", "init", server.name)
        server.rewrite(("/24", "/16"))
        server.start()
        try:
            table = folder / "peers.csv"
            table.write_text("\n".join(["name", *(f"p{number}" for number in range(PEERS))]))
            out = str(folder / "out")
            every = seconds_of(server.peer, "add", "--from", str(table), "--out", out)
            ones = [seconds_of(server.peer, "add", f"one{number}") for number in range(REPEATED)]
            argv = [program("python"), "-c", WITH_API, server.name]
            by_api = float(hosts.server.run(argv, env=server.env).stdout)
            return {
                "start the program (ms)": starts(server.run, "--version"),
                "10,000 peers, with interface and routes (s)": every,
                "one more (ms)": statistics.median(ones) * 1e3,
                "one more by the API (ms)": by_api * 1e3,
                "list 10,000 (s)": seconds_of(server.peer, "list"),
                "status (s)": seconds_of(server.status),
            }
        finally:
            server.stop()


def starts(call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> float:
    """Return the median of some calls in ms."""
    return statistics.median(seconds_of(call, *args, **kwargs) for _ in range(REPEATED)) * 1e3


def measure(pair: Pair, seconds: float) -> Figures:
    """Measure the one or the other."""
    return (with_wg if pair.server == GO else with_wgbind)(pair, seconds)


SCENARIOS = [Scenario("times", measure, (Pair(GO, "none"), Pair(WGBIND_SERVER, "none")))]
