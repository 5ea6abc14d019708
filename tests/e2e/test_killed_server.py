"""A server that is killed while it writes has what it acknowledged, and no half of anything."""

import secrets
from pathlib import Path

from harness import Topology, Wgbind, program

SCRIPT = Path(__file__).with_name("killed_server.py")
KILLS = 4
"""Processes that write are killed two hundred times in `unit/test_killed_writers.py`."""


def test_a_killed_server_lost_nothing(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.run("server", "init", server.name)
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    argv = [program("python"), str(SCRIPT), server.name, str(seed), str(KILLS)]
    ran = topology.server.run(argv, env=server.env, timeout=110)
    assert int(ran.stdout) > 0
    server.start()
    assert server.peers() == []
    server.stop()
