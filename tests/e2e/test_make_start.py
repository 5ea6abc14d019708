"""`make start`, as a newcomer types it, on a host of its own."""

import os
import sys
from pathlib import Path

from harness import Topology, Wgbind

REPOSITORY = Path(__file__).parents[2]


def test_make_start_shows_a_qr_code(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    variables = [f"SERVER={server.name}", f"VENV={sys.prefix}"]
    env = {name: value for name, value in server.env.items() if not name.startswith("MAKE")}
    env["PATH"] = os.environ["PATH"]

    def make(target: str) -> str:
        # Whatever was touched meanwhile, other tests use the wheel that is installed.
        argv = ["make", "-C", str(REPOSITORY), "-o", f"{sys.prefix}/.wheel", target, *variables]
        return topology.server.run(argv, env=env, timeout=110).stdout

    printed = make("start")
    assert "[Interface]" in printed
    assert "█" in printed or "▀" in printed
    assert server.status()["state"] == "running"
    assert [peer["name"] for peer in server.peers()] == ["phone"]
    assert "there already" in make("start")
    make("stop")
    assert server.status()["state"] == "stopped"
