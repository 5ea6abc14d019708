"""A running server follows its settings, its store and its host; its end leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import Namespace, Wgbind, files, host_state, wg

RECHECK = 90.0
"""Seconds in which a server sees what others did to its host: it looks each 15, or 60, seconds."""

PATIENCE = 30.0
"""Seconds for what comes at once, on a machine that others share."""

ADD_PEER = """
import sys
from wgbind import PrivateKey, Server
from wgbind.store import Store

server = Server(sys.argv[1])
settings = server.configuration().settings
with Store.open(server.paths, settings) as store:
    key = PrivateKey.generate().public_key()
    store.add_peer(server.name, "carol", pools=settings.interface.addresses, public_key=key)
print(key)
"""

IN_PROCESS = """
import sys
from wgbind import Server

with Server(sys.argv[1]) as server:
    peer = server.peers.add("phone")
    assert peer.private_key is not None
    assert str(server.peers.client_configuration(peer).endpoint).endswith(":51820")
    print("ready", flush=True)
    sys.stdin.readline()
    print(*[peer.name for peer in server.status().peers], flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A host with one interface beside the tunnel's."""
    with Namespace("server") as namespace:
        namespace.ip("link", "add", "lan", "type", "veth", "peer", "name", "other")
        namespace.add_address("lan", "198.18.0.2/28")
        for interface in ("lan", "other"):
            namespace.ip("link", "set", interface, "up")
        namespace.ip("route", "add", "default", "via", "198.18.0.1")
        yield namespace


@pytest.fixture
def server(host: Namespace, tmp_path: Path) -> Wgbind:
    """A server with settings that is stopped."""
    server = Wgbind(host, tmp_path)
    server.run("server", "init", server.name)
    return server


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until `condition` holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_reload_applies_what_changed(host: Namespace, server: Wgbind) -> None:
    server.start()
    server.peer("add", "phone")
    before = server.status()
    rules = host.run(["nft", "list", "table", "inet", f"wgbind_{server.name}"]).stdout
    changes = [
        ("listen_port = 51820", "listen_port = 51899"),
        ("mtu = 1420", "mtu = 1380"),
        ('preset = ["gateway"]', 'preset = "isolated"'),
        (before["addresses"][0], "10.99.0.1/24"),
    ]
    server.rewrite(*changes)
    status = server.status()
    counted = ("drops", "rules", "refused", "data_path_cpu_seconds")
    assert status == {**before, **{key: status[key] for key in counted}}
    server.run("server", "reload", server.name)

    after = server.status()
    assert after["listen_port"] == 51899
    assert wg(host, "show", server.name, "listen-port").strip() == "51899"
    (link,) = host.ip_json("address", "show", "dev", server.name)
    assert link["mtu"] == after["mtu"] == 1380
    addresses = {f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"]}
    assert addresses == set(after["addresses"]) == {"10.99.0.1/24", before["addresses"][1]}
    assert after["preset"] == ["isolated"]
    assert "peers reach nothing" in after["meaning"]
    assert host.run(["nft", "list", "table", "inet", f"wgbind_{server.name}"]).stdout != rules
    assert [peer["name"] for peer in after["peers"]] == ["phone"]
    assert (after["pid"], after["started_at"]) == (before["pid"], before["started_at"])


def test_reload_refuses_what_only_a_start_applies(host: Namespace, server: Wgbind) -> None:
    server.start()
    port = ("listen_port = 51820", "listen_port = 51899")
    device = [('workers = "auto"', "workers = 2"), ("tun_uso = true", "tun_uso = false")]
    url = ('# url = "sqlite:', 'url = "sqlite:')
    server.rewrite(port, *device, url)
    refused = server.run("server", "reload", server.name, check=False)
    assert (refused.returncode, refused.stderr) == (
        1,
        f"error: {server.settings}: store.url, device.workers, device.tun_uso changed;"
        " stop and start the server\n",
    )
    assert wg(host, "show", server.name, "listen-port").strip() == "51820"

    server.rewrite(url[::-1])
    server.stop()
    server.start()
    shown = server.run("server", "status", server.name).stdout
    assert "51899/udp" in shown
    assert "tun_uso (by the settings)" in shown


def test_store_is_watched(host: Namespace, server: Wgbind) -> None:
    server.start()
    added = host.run([sys.executable, "-c", ADD_PEER, server.name], env=server.env)
    wait_for(lambda: wg(host, "show", server.name, "peers") == added.stdout)


def test_flushed_rules_come_back(host: Namespace, server: Wgbind) -> None:
    server.start()
    before = host_state(host)["nftables"]
    host.run(["nft", "flush", "ruleset"])
    host.sysctl("net.ipv4.ip_forward", "0")

    def kinds(ruleset: list[dict[str, object]]) -> list[str]:
        return sorted(next(iter(entry)) for entry in ruleset)

    wait_for(lambda: kinds(host_state(host)["nftables"]) == kinds(before), RECHECK)
    # The rules may have come back before that was written, for which the next look is due.
    wait_for(lambda: host.sysctl("net.ipv4.ip_forward") == "1", RECHECK)


def test_what_the_host_refuses_is_told_and_tried_again(host: Namespace, server: Wgbind) -> None:
    server.start()
    added = server.peer("add", "site", "--route", "198.18.0.0/28")
    assert "198.18.0.0/28" in added.stderr
    (problem,) = server.status()["problems"]
    assert "198.18.0.0/28 is routed elsewhere" in problem
    assert "problem" in server.run("server", "status", server.name).stdout
    host.ip("route", "del", "198.18.0.0/28")
    wait_for(lambda: server.status()["problems"] == [], RECHECK)
    routes = host.ip_json("route", "show", "198.18.0.0/28")
    assert [route["dev"] for route in routes] == [server.name]


def test_server_ends_with_its_interface(host: Namespace, server: Wgbind) -> None:
    before = host_state(host)
    argv = server.command("server", "start", server.name, "--foreground")
    process = host.popen(argv, env=server.env)
    wait_for(lambda: server.name in host.interfaces())
    assert server.status()["state"] == "running"
    host.ip("link", "del", server.name)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output.splitlines()[-1] == f"error: {server.name} ended by itself: interface removed"
    assert host_state(host) == before
    assert server.status()["state"] == "stopped"


def test_stop_cleans_up_after_a_killed_server(host: Namespace, server: Wgbind) -> None:
    before = host_state(host), files(server.runtime.parent)
    server.start()
    server.kill()
    assert host_state(host) != before[0]
    server.stop()
    assert host_state(host) == before[0]
    assert not server.runtime.joinpath(f"{server.name}.sock").exists()
    assert server.run("server", "stop", server.name, check=False).returncode == 1


# On an idle machine a start takes 0.8 s.
@pytest.mark.parametrize("delay", [0.1, 0.25, 0.4])
def test_start_that_is_broken_off_leaves_nothing(
    host: Namespace, server: Wgbind, delay: float
) -> None:
    before = host_state(host)
    argv = server.command("server", "start", server.name)
    process = subprocess.Popen(
        host.command(argv),
        env=server.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    if process.returncode == 0:  # it was complete before: then it cannot be broken off any more
        server.stop()
    # Its daemon may have just begun, and hold no lock yet by which the status would tell.
    wait_for(lambda: not host.pids())
    assert server.status()["state"] == "stopped"
    assert host_state(host) == before


def test_server_in_a_python_process(host: Namespace, server: Wgbind) -> None:
    before = host_state(host)
    argv = [sys.executable, "-W", "error", "-c", IN_PROCESS, server.name]
    process = host.popen(argv, stdin=subprocess.PIPE, env=server.env)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    status = server.status()
    assert (status["state"], [peer["name"] for peer in status["peers"]]) == ("running", ["phone"])
    refused = server.run("server", "start", server.name, check=False)
    assert refused.returncode == 1
    assert f"pid {status['pid']}" in refused.stderr
    added = json.loads(server.peer("add", "tablet", "--json").stdout)["peer"]
    assert added["public_key"] in wg(host, "show", server.name, "peers").split()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "phone tablet\n"
    rest, _ = process.communicate("\n", timeout=60)
    assert (process.returncode, rest) == (0, "")
    assert host_state(host) == before
