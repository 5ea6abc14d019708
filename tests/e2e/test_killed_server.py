"""A server that is killed while it writes has what it acknowledged, and no half of anything."""

from pathlib import Path

from e2e.killing import kill
from harness import Topology

SECONDS = 15
"""How long it goes on; two hundred kills take minutes: see `long/test_killed_server.py`."""


def test_a_killed_server_lost_nothing(topology: Topology, tmp_path: Path) -> None:
    assert kill(topology, tmp_path, 200, SECONDS) > 0
