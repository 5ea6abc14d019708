"""Many configured peers: what they cost, and what they cost the one that talks."""

import os
import socket
import time

from generator import Load, add_clients
from harness import End, ping
from scenario import GO, WGBIND, Figures, Pair, Scenario
from scenarios.tcp import transfer
from star import star
from usage import Cpu, resident_mb

IDLE = 10_000
CONFIGURED = 100_000
CONNECTED = 10_000


def configure(server: End, peers: list[str]) -> float:
    """Add peers through the control socket in one request; return the seconds it took."""
    request = "set=1\n" + "".join(peers) + "\n"
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(f"/var/run/wireguard/{server.interface}.sock")
        start = time.perf_counter()
        control.sendall(request.encode())
        answer = control.makefile().readline()
        took = time.perf_counter() - start
    assert answer == "errno=0\n", answer
    return took


def peer(number: int) -> str:
    """Return a peer as the control socket wants it (key in hexadecimal)."""
    key = (number.to_bytes(4, "big") + os.urandom(28)).hex()
    address = f"10.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
    return f"public_key={key}\nallowed_ip={address}/32\n"


def idle(pair: Pair, seconds: float) -> Figures:
    """Measure 10,000 peers that were never heard of."""
    with star(pair.server) as hosts:
        server = hosts.server
        empty = resident_mb(server.process.pid, peak=False)
        every = configure(server, [peer(number) for number in range(IDLE)])
        one = min(configure(server, [peer(IDLE + number)]) for number in range(10))
        cpu = Cpu(server.process.pid)
        time.sleep(seconds * 2)
        return {
            "all in one request (s)": every,
            "one more (ms)": one * 1e3,
            "idle (% of a core)": cpu.seconds() / (seconds * 2) * 100,
            "server without peers (MB)": empty,
            "server (MB)": resident_mb(server.process.pid, peak=False),
            "server at its peak (MB)": resident_mb(server.process.pid),
        }


def crowd(pair: Pair, seconds: float) -> Figures:
    """Measure one client's transfers alone, then among 100,000 peers, 10,000 with sessions."""
    with star(pair.server, pair.client, hosts=1) as hosts:
        (client,), server, (host,) = hosts.clients, hosts.server, hosts.hosts
        ping(client.namespace, server.inner.ipv4)  # the handshake
        alone = [transfer(client, server, seconds, *way)[0] for way in ((), ("-R",))]
        add_clients(server, CONFIGURED)
        endpoint, key = hosts.endpoints[0], server.public_key()
        load = Load(host, "connect", endpoint, key, CONNECTED, "hold")
        connected = float(load.line())
        among = [transfer(client, server, seconds, *way)[0] for way in ((), ("-R",))]
        cpu = Cpu(server.process.pid)
        time.sleep(seconds)
        return {
            "10,000 connected (s)": connected,
            "up, of alone (%)": among[0] / alone[0] * 100,
            "down, of alone (%)": among[1] / alone[1] * 100,
            "silent sessions (% of a core)": cpu.seconds() / seconds * 100,
            "server (MB)": resident_mb(server.process.pid),
        }


SCENARIOS = [
    Scenario("idle", idle, (Pair(GO, "none"), Pair(WGBIND, "none"))),
    # wireguard-go takes 65,536 peers at most.
    Scenario("crowd", crowd, (Pair(WGBIND, WGBIND),)),
]
