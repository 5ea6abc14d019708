"""The tutorial's script provisions a live server, and real clients use what it hands out."""

import re
import subprocess
import sys
from ipaddress import ip_interface
from pathlib import Path

from harness import Topology, Wgbind, connect, ping, wg

SCRIPT = Path(__file__).parents[2] / "docs" / "tutorial.py"

PEERS = 500


def test_tutorial(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.run("server", "init", server.name)
    server.rewrite(("groups = []", 'groups = ["staff", "guests"]'), ("/24", "/22"))
    server.start()
    table, folder = tmp_path / "peers.csv", tmp_path / "configurations"
    rows = [
        f"p{number},{('staff', 'staff guests')[number % 2]},n° {number}" for number in range(PEERS)
    ]
    table.write_text("\n".join(["name,groups,description", *rows]) + "\n")
    script = topology.server.popen(
        [sys.executable, str(SCRIPT), server.name, str(table), str(folder), "--clients", "2"],
        stderr=subprocess.STDOUT,
        env=server.env,
    )
    assert script.stdout is not None
    said = iter(script.stdout.readline, "")
    assert next(said) == f"{PEERS} configurations are in {folder}\n"

    own = str(ip_interface(server.status()["addresses"][0]).ip)
    hosts = {"p7": topology.a, "p8": topology.b}
    clients = {}
    for name, host in hosts.items():
        written = (folder / f"{name}.conf").read_text()
        clients[name] = connect(host, written, tmp_path, f"{own}/32")
        ping(host, own, count=1, deadline=10)
        assert f"{name} connected from" in next(said)
    assert "p7 expired" in next(said)
    assert ping(topology.a, own, count=1, deadline=1).received == 0

    assert next(said) == "p8.conf has new keys\n"
    rotated = tmp_path / "rotated.conf"
    rotated.touch(0o600)
    text = (folder / "p8.conf").read_text()
    rotated.write_text(re.sub("(?m)^(Address|DNS|MTU) .*\n", "", text))
    wg(topology.b, "setconf", clients["p8"].interface, str(rotated))
    assert ping(topology.b, own, deadline=10).received
    assert "p8 connected from" in next(said)
    assert next(said) == f"100 are removed, {PEERS - 100} are left\n"
    assert script.wait(timeout=30) == 0
    assert len(server.peers()) == PEERS - 100
    assert server.peer_status("p7")["state"] == "expired"
    assert server.peer_status("p8")["state"] == "connected"
