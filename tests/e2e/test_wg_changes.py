"""What `wg` changes on a running server is in its store, and there after a restart."""

import os
import re
import time
from pathlib import Path
from typing import Any

from harness import Client, Network, Topology, Wgbind, ping, reach, wg
from wgbind.keys import PresharedKey, PrivateKey


def new_key() -> str:
    return str(PrivateKey.generate().public_key())


def by_key(server: Wgbind) -> dict[str, dict[str, Any]]:
    return {peer["public_key"]: peer for peer in server.peers()}


def restart(server: Wgbind) -> None:
    server.stop()
    server.start()


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.touch(0o600)
    path.write_text(text)
    return str(path)


def reconnect(client: Client, folder: Path) -> None:
    """Let a client forget its session, which the server has forgotten."""
    stripped = folder / f"{client.interface}.stripped"
    wg(client.namespace, "setconf", client.interface, str(stripped))


def log_of(server: Wgbind) -> str:
    return server.runtime.joinpath(f"{server.name}.log").read_text()


def test_what_wg_adds_and_removes_does_not_come_back(topology: Topology, tmp_path: Path) -> None:
    """The removal falls into each step of taking over what was added."""
    server = Wgbind(topology.server, tmp_path)
    server.start()
    for number in range(60):
        peer = "set", server.name, "peer", new_key()
        wg(topology.server, *peer, "allowed-ips", f"192.168.7.{number}/32")
        time.sleep(number % 20 * 0.005)
        wg(topology.server, *peer, "remove")
    # The first answer is given when all is taken over that `wg` was told is done.
    assert server.peers() == []
    assert wg(topology.server, "show", server.name, "peers") == ""


def test_peer_that_wg_adds_is_one_of_the_servers(network: Network, tmp_path: Path) -> None:
    host, server = network.hosts.server, network.server
    key, psk = new_key(), PresharedKey.generate().reveal()
    given = log_of(server).count("device: peers:")
    wg(
        *(host, "set", server.name, "peer", key, "persistent-keepalive", "25"),
        *("preshared-key", written(tmp_path, "psk", psk), "endpoint", "192.0.2.7:7"),
        *("allowed-ips", f"{free_address(server)}/32,192.168.77.0/24"),
    )
    peer = by_key(server)[key]
    assert re.fullmatch("wg-.{8}", peer["name"])
    assert peer["allowed_ips"] == [f"{free_address(server)}/32", "192.168.77.0/24"]
    assert (peer["endpoint"], peer["persistent_keepalive"]) == ("192.0.2.7:7", 25)
    assert peer["has_preshared_key"]
    # Its network is routed, and the server gave the device nothing that it had already.
    assert host.ip_json("route", "get", "192.168.77.1")[0]["dev"] == server.name
    assert log_of(server).count("device: peers:") == given
    dump = wg(host, "show", server.name, "dump")
    restart(server)
    assert peer_lines(wg(host, "show", server.name, "dump"))[key] == peer_lines(dump)[key]
    server.peer("set", peer["name"], "--name", "site")
    wg(host, "set", server.name, "peer", key, "allowed-ips", "192.168.78.0/24")
    changed = by_key(server)[key]
    assert (changed["name"], changed["allowed_ips"]) == ("site", ["192.168.78.0/24"])
    wg(host, "set", server.name, "peer", key, "remove")
    # At once, so it is taken over with the end of the server, if not before.
    restart(server)
    assert key not in by_key(server)


def test_syncconf_and_addconf_change_the_store(network: Network, tmp_path: Path) -> None:
    host, server = network.hosts.server, network.server
    reconnect(network.a, server.config.parent)
    reach(network.hosts.a, network.ipv4)
    handshake = network.a.settled_handshake()
    server.peer("set", "a", "--description", "stays")
    shown = wg(host, "showconf", server.name)
    key, other = new_key(), new_key()
    added = f"[Peer]\nPublicKey = {key}\nAllowedIPs = 192.168.80.0/24\n"
    wg(host, "addconf", server.name, written(tmp_path, "add.conf", added))
    assert by_key(server)[key]["allowed_ips"] == ["192.168.80.0/24"]
    replaced = f"{shown}\n[Peer]\nPublicKey = {other}\nAllowedIPs = 192.168.81.0/24\n"
    wg(host, "syncconf", server.name, written(tmp_path, "sync.conf", replaced))
    found = by_key(server)
    assert other in found
    assert key not in found
    assert {peer["name"] for peer in found.values()} >= {"a", "b"}
    assert server.peer_status("a")["description"] == "stays"
    assert ping(network.hosts.a, network.ipv4).lost == 0
    assert network.a.keeps_session(handshake)
    restart(server)
    assert set(by_key(server)) == set(found)
    wg(host, "syncconf", server.name, written(tmp_path, "again.conf", shown))
    assert other not in by_key(server)


def test_setconf_takes_away_whom_it_does_not_name(network: Network, tmp_path: Path) -> None:
    host, server = network.hosts.server, network.server
    names = {peer["public_key"]: peer["name"] for peer in server.peers()}
    server.peer("add", "other", "--no-qr")
    # Who is disabled is not on the device, so no file takes them away.
    server.peer("add", "later", "--no-qr")
    server.peer("disable", "later")
    shown = wg(host, "showconf", server.name)
    kept = [block for block in shown.split("\n[Peer]") if key_of(block) in {None, *names}]
    wg(host, "setconf", server.name, written(tmp_path, "set.conf", "\n[Peer]".join(kept)))
    expected = {*names.values(), "later"}
    assert {peer["name"] for peer in server.peers()} == expected
    assert server.peer_status("later")["state"] == "disabled"
    server.peer("remove", "later")


def test_who_is_disabled_stays_so(network: Network) -> None:
    host, server = network.hosts.server, network.server
    server.peer("disable", "b")
    key = server.peer_status("b")["public_key"]
    wg(host, "set", server.name, "peer", key, "allowed-ips", f"{network.b.ipv4}/32")
    status = server.peer_status("b")
    assert status["state"] == "disabled"
    assert key not in wg(host, "show", server.name, "peers").split()
    assert "peer b: it is disabled, and wg does not change that" in log_of(server)
    server.peer("enable", "b")
    assert key in wg(host, "show", server.name, "peers").split()
    reconnect(network.b, server.config.parent)
    reach(network.hosts.b, network.ipv4)


def test_what_cannot_be_kept_is_said_and_stays_until_the_restart(network: Network) -> None:
    host, server = network.hosts.server, network.server
    key = new_key()
    wg(host, "set", server.name, "peer", key, "allowed-ips", f"{network.ipv4}/32")
    found = by_key(server)[key]
    assert found["name"] is None
    (problem,) = (each for each in server.status()["problems"] if "own address" in each)
    assert "by wg" in problem
    reconnect(network.a, server.config.parent)
    reach(network.hosts.a, network.ipv4)
    wg(host, "set", server.name, "peer", key, "remove")
    assert key not in by_key(server)
    assert not server.status()["problems"]


def test_networks_within_each_other_lead_to_each_peer(network: Network) -> None:
    host, server = network.hosts.server, network.server
    name = server.name
    keys = {peer["name"]: peer["public_key"] for peer in server.peers()}

    def allow(peer: Client, *networks: str) -> None:
        allowed_ips = ",".join((f"{peer.ipv4}/32", f"{peer.ipv6}/128", *networks))
        key = keys["a" if peer is network.a else "b"]
        wg(host, "set", name, "peer", key, "allowed-ips", allowed_ips)

    def behind(which: str) -> list[str]:
        found = by_key(server)[keys[which]]["allowed_ips"]
        return [text for text in found if text.startswith("198.18.")]

    def answers(address: str) -> None:
        deadline = time.monotonic() + 30
        while not ping(host, address).received:
            assert time.monotonic() < deadline

    network.a.namespace.ip("address", "add", "198.18.5.9/32", "dev", "lo")
    network.b.namespace.ip("address", "add", "198.18.5.7/32", "dev", "lo")
    allow(network.a, "198.18.5.0/24")
    allow(network.b, "198.18.5.7/32")
    assert (behind("a"), behind("b")) == (["198.18.5.0/24"], ["198.18.5.7/32"])
    restart(server)
    assert (behind("a"), behind("b")) == (["198.18.5.0/24"], ["198.18.5.7/32"])
    for client in (network.a, network.b):
        reconnect(client, server.config.parent)
        reach(client.namespace, network.ipv4)
    answers("198.18.5.9")
    answers("198.18.5.7")
    # The same prefix is of who claims it last.
    allow(network.a, "198.18.5.0/24", "198.18.5.7/32")
    assert (behind("a"), behind("b")) == (["198.18.5.0/24", "198.18.5.7/32"], [])
    restart(server)
    assert (behind("a"), behind("b")) == (["198.18.5.0/24", "198.18.5.7/32"], [])
    allow(network.a)
    allow(network.b)


def test_key_port_and_mark_go_into_the_files(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.start()
    server.peer("add", "phone", "--no-qr")
    host, name = topology.server, server.name
    server.rewrite(("listen_port = 51820", "listen_port = 51820  # ours"))
    wg(host, "set", name, "listen-port", "51999", "fwmark", "0x77")
    status = server.status()
    assert status["listen_port"] == 51999
    settings = server.settings.read_text()
    assert "\nlisten_port = 51999  # ours\n" in settings
    assert "\nfwmark = 119\n" in settings
    private_key = PrivateKey.generate()
    wg(host, "set", name, "private-key", written(tmp_path, "new.key", private_key.reveal()))
    assert server.status()["public_key"] == str(private_key.public_key())
    key_file = server.config / f"{name}.key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    restart(server)
    dump = wg(host, "show", name, "dump").splitlines()[0].split("\t")
    assert dump == [private_key.reveal(), str(private_key.public_key()), "51999", "0x77"]
    # A file that names none of them leaves the server its own.
    wg(host, "syncconf", name, written(tmp_path, "empty.conf", "[Interface]\n"))
    assert server.status()["listen_port"] == 51999
    assert wg(host, "show", name, "dump").splitlines()[0].split("\t") == dump
    assert server.peers() == []


def test_ten_thousand_peers_of_one_setconf(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.run("server", "init", server.name)
    address = re.search(r'"(10|172|192)[0-9.]+/24"', server.settings.read_text())
    assert address is not None
    server.rewrite((address[0], '"10.77.0.1/16"'))
    server.start()
    private_key = wg(topology.server, "show", server.name, "private-key").strip()
    keys = [new_key() for _ in range(10_000)]
    blocks = [
        f"[Peer]\nPublicKey = {key}\nAllowedIPs = 10.77.{1 + number // 200}.{number % 200}/32\n"
        for number, key in enumerate(keys)
    ]
    text = f"[Interface]\nPrivateKey = {private_key}\nListenPort = 51820\n" + "\n".join(blocks)
    begin = cpu_seconds(server)
    wg(topology.server, "setconf", server.name, written(tmp_path, "many.conf", text))
    found = {peer["public_key"]: peer["name"] for peer in server.peers()}
    took = cpu_seconds(server) - begin
    assert set(found) == set(keys)
    assert None not in found.values()
    assert took < 60
    print(f"10,000 peers: {took:.1f} s")
    restart(server)
    assert {peer["public_key"]: peer["name"] for peer in server.peers()} == found


def cpu_seconds(server: Wgbind) -> float:
    """The seconds that the server computed: what else the machine does has no part in them."""
    stat = Path(f"/proc/{server.status()['pid']}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def free_address(server: Wgbind) -> str:
    """An address of the tunnel that nobody was given."""
    return re.sub(r"\.1/24$", ".200", server.status()["addresses"][0])


def peer_lines(dump: str) -> dict[str, list[str]]:
    """What `wg show dump` says of the configuration of each peer."""
    lines = [line.split("\t") for line in dump.splitlines()[1:]]
    return {line[0]: [*line[1:4], line[7]] for line in lines}


def key_of(block: str) -> str | None:
    """The key of the peer of whom a part of a file tells."""
    found = re.search(r"PublicKey = (\S+)", block)
    return None if found is None else found[1]
