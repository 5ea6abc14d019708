"""Documents applied to a running server: at once, all or nothing, and back if it cannot be."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness import Network, ping, program, udp_stream, wg

HOLD_PORT = """
import socket, sys
held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
held.bind(("0.0.0.0", int(sys.argv[1])))
print("ready", flush=True)
sys.stdin.read()
"""


# It is killed when it is about to look again for the settings that it wrote beside their file: the
# peers are in the store then, and a document's settings not yet in their place.
CUT_SHORT = """
import os, signal, sys
from wgbind import Server
server, port = Server(sys.argv[1]), int(sys.argv[2])
looked = []
def look(event, arguments):
    if event == "open" and str(arguments[0]) == str(server.paths.journal):
        looked.append(event)
        if len(looked) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(look)
server.apply({"settings": {"interface": {"listen_port": port}}, "peers": {"late": {}}})
"""


def apply(
    network: Network, folder: Path, document: dict[str, Any], *options: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    path = folder / "document.json"
    path.write_text(json.dumps(document))
    server = network.server
    return server.run("apply", str(path), "--server", server.name, *options, check=check)


def peers(network: Network) -> dict[str, dict[str, Any]]:
    """What the store says of them: no counters, and not where they are."""
    live = {
        "state",
        "last_handshake",
        "last_seen",
        "rx_bytes",
        "tx_bytes",
        "total_rx_bytes",
        "total_tx_bytes",
        "endpoint",
    }
    return {
        peer["name"]: {key: value for key, value in peer.items() if key not in live}
        for peer in network.server.peers()
    }


def test_settings_and_peers_come_together(network: Network, tmp_path: Path) -> None:
    hosts, server = network.hosts, network.server
    handshake = network.a.settled_handshake()
    stream = udp_stream(hosts.a, hosts.server, network.ipv4)
    document = {
        "settings": {
            "policy": {
                "groups": ["closed"],
                "rules": ["deny closed -> host", "allow peers -> host"],
            }
        },
        "peers": {"b": {"groups": ["closed"]}, "c": {}},
    }
    assert ping(hosts.b, network.ipv4).lost == 0
    apply(network, tmp_path, document, "--out", str(tmp_path / "keys"))
    assert ping(hosts.b, network.ipv4, count=2, deadline=1).received == 0
    assert sorted(peers(network)) == ["a", "b", "c"]
    keys = wg(hosts.server, "show", server.name, "peers").split()
    assert peers(network)["c"]["public_key"] in keys
    assert "Nothing changes." in apply(network, tmp_path, document).stdout
    apply(network, tmp_path, {"peers": {"b": {"groups": []}}})
    assert ping(hosts.b, network.ipv4).lost == 0
    apply(network, tmp_path, {"peers": {"a": {}, "b": {}}}, "--prune", "--yes")
    assert sorted(peers(network)) == ["a", "b"]
    stream.assert_nothing_lost()
    assert network.a.keeps_session(handshake)


def test_what_the_server_cannot_apply_is_taken_back(network: Network, tmp_path: Path) -> None:
    hosts, server = network.hosts, network.server
    port = 40007
    argv = [sys.executable, "-c", HOLD_PORT, str(port)]
    holder = hosts.server.popen(argv, stdin=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    server.peer("add", "d", "--description", "one", "--group", "closed")
    server.peer("add", "e", "--expires", "30d")
    before, settings = peers(network), server.settings.read_text()
    document = {
        "settings": {
            "interface": {"listen_port": port},
            "policy": {"groups": ["other"], "rules": []},
        },
        "peers": {"a": {}, "b": {}, "d": {"description": "two"}, "f": {"groups": ["other"]}},
    }
    out = tmp_path / "keys"
    refused = apply(network, tmp_path, document, "--prune", "--yes", "--out", str(out), check=False)
    assert refused.returncode == 1, refused
    assert refused.stderr.startswith(f"error: {server.name} cannot apply it, so nothing changed: ")
    assert str(port) in refused.stderr
    assert server.settings.read_text() == settings
    assert peers(network) == before
    assert list(out.iterdir()) == []
    assert server.status()["problems"] == []
    assert server.status()["listen_port"] != port
    assert ping(hosts.a, network.ipv4).lost == 0
    keys = wg(hosts.server, "show", server.name, "peers").split()
    assert sorted(keys) == sorted(peer["public_key"] for peer in before.values())
    holder.stdin.close() if holder.stdin else None
    holder.wait(60)
    server.peer("remove", "d", "e")


def test_a_running_server_ends_what_a_killed_process_began(network: Network) -> None:
    server, port = network.server, 40008
    settings = server.settings.read_text()
    argv = [program("python"), "-c", CUT_SHORT, server.name, str(port)]
    ran = network.hosts.server.run(argv, env=server.env, check=False)
    assert ran.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}, ran
    deadline = time.monotonic() + 60
    while server.status()["listen_port"] != port:
        assert time.monotonic() < deadline, server.status()
    assert f"listen_port = {port}" in server.settings.read_text()
    assert sorted(peers(network)) == ["a", "b", "late"]
    assert server.status()["problems"] == []
    server.peer("remove", "late")
    server.settings.write_text(settings)
    server.run("server", "reload", server.name)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"device": {"workers": 2}}, "stop"),
        ({"interface": {"addresses": ["10.8.0.1"]}}, "prefix length"),
    ],
)
def test_what_is_refused_before_changes_nothing(
    network: Network, tmp_path: Path, settings: dict[str, Any], word: str
) -> None:
    server = network.server
    before, text = peers(network), server.settings.read_text()
    document = {"settings": settings, "peers": {"a": {"description": "other"}}}
    refused = apply(network, tmp_path, document, check=False)
    assert refused.returncode in {1, 2}
    assert "document.json:1: key settings." in refused.stderr
    assert word in refused.stderr
    assert (peers(network), server.settings.read_text()) == (before, text)
