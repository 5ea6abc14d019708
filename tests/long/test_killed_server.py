"""A server that is killed two hundred times while it writes (`make test-long`)."""

from pathlib import Path

import pytest

from e2e.killing import kill
from harness import Topology

KILLS = 200


@pytest.mark.long
@pytest.mark.timeout(3700)
def test_two_hundred_kills_lose_nothing(topology: Topology, tmp_path: Path) -> None:
    assert kill(topology, tmp_path, KILLS, 3600) == KILLS
