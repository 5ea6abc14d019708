"""Servers that are killed while they write."""

import secrets
from pathlib import Path

from harness import Topology, Wgbind, program

SCRIPT = Path(__file__).with_name("killed_server.py")


def kill(topology: Topology, folder: Path, kills: int, seconds: float) -> int:
    """Kill a server so often while it writes, or as often as it can be in the time; return that."""
    server = Wgbind(topology.server, folder)
    server.run("server", "init", server.name)
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    argv = [program("python"), SCRIPT, server.name, seed, kills, seconds]
    ran = topology.server.run(list(map(str, argv)), env=server.env, timeout=seconds + 95)
    done, writes, untold, under_way = map(int, ran.stdout.split())
    print(f"{done} kills, {writes} writes told of, {untold} done and not told of")
    print(f"{under_way} times settings were on their way to their file")
    assert writes > 0
    return done
