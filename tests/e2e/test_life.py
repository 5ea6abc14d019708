"""The life of a server: start, stop, crash, start again; and what is left of it."""

import os
import signal
from pathlib import Path

import pytest

from harness import Topology, Wgbind, host_state, ping, reach, start_network, wait_until


def test_start_says_what_it_chose_and_detaches(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    printed = server.start()
    status = server.status()
    assert status["state"] == "running"
    assert status["listen_port"] == 51820
    assert status["endpoint"] == f"{topology.server_lan.ipv4}:51820"
    assert status["endpoint"] in printed
    assert "guess" in printed
    assert os.getsid(status["pid"]) == status["pid"]
    assert server.config.joinpath(f"{server.name}.key").stat().st_mode & 0o777 == 0o600
    assert server.state.joinpath("wgbind.db").stat().st_mode & 0o777 == 0o600
    server.stop()
    assert server.status()["state"] == "stopped"


def test_second_start_is_refused(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.start()
    pid = server.status()["pid"]
    second = server.run("server", "start", server.name, check=False)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert server.name in second.stderr
    assert server.status()["pid"] == pid


def test_stop_restores_the_host(topology: Topology, tmp_path: Path) -> None:
    before = host_state(topology.server)
    network = start_network(topology, tmp_path)
    during = host_state(topology.server)
    assert "net.ipv4.ip_forward = 1" in during["sysctls"]
    assert f"wgbind_{network.server.name}" in str(during["nftables"])
    assert network.server.name in str(during["addresses"])
    network.server.stop()
    assert host_state(topology.server) == before
    left = [path.name for path in network.server.runtime.iterdir()]
    assert not [name for name in left if name.endswith((".sock", ".json"))], left


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_foreground_server_cleanly(
    topology: Topology, tmp_path: Path, number: signal.Signals
) -> None:
    before = host_state(topology.server)
    server = Wgbind(topology.server, tmp_path)
    argv = [*server.command("server", "start", server.name, "--foreground")]
    process = topology.server.popen(argv, env=server.env)

    def runs() -> bool:
        assert process.poll() is None, process.communicate()
        return server.settings.exists() and server.status()["state"] == "running"

    wait_until(runs, "the server")
    process.send_signal(number)
    assert process.wait(60) == 0
    assert host_state(topology.server) == before


def test_clients_recover_from_a_killed_server(topology: Topology, tmp_path: Path) -> None:
    before = host_state(topology.server)
    network = start_network(topology, tmp_path)
    server = network.server
    server.peer("add", "carol")
    peers = server.configured_peers()
    os.kill(server.status()["pid"], signal.SIGKILL)
    wait_until(lambda: server.name not in topology.server.interfaces(), "the end of the interface")
    assert ping(topology.a, network.ipv4, count=1, deadline=1).received == 0

    server.start()
    assert server.configured_peers() == peers
    # A client whose server forgot its session takes KEEPALIVE_TIMEOUT + REKEY_TIMEOUT = 15 s to
    # notice (the paper, section 6.1), then a handshake.
    for client, address in ((topology.a, network.ipv4), (topology.b, network.ipv6)):
        reach(client, address)
    assert ping(topology.a, topology.lan_host.ipv4).lost == 0
    server.stop()
    assert host_state(topology.server) == before


def test_two_servers_share_a_host(topology: Topology, tmp_path: Path) -> None:
    before = host_state(topology.server)
    one = Wgbind(topology.server, tmp_path)
    two = Wgbind(topology.server, tmp_path)
    one.start()
    two.run("server", "init", two.name)
    two.settings.write_text(two.settings.read_text().replace("51820", "51821"))
    two.start()
    assert two.status()["listen_port"] == 51821
    one.stop()
    assert topology.server.sysctl("net.ipv4.ip_forward") == "1"
    assert two.status()["state"] == "running"
    two.stop()
    assert host_state(topology.server) == before
