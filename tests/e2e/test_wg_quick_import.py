"""A server of wg-quick moves to wgbind: its clients notice nothing."""

import re
from pathlib import Path

from harness import Topology, Wgbind, connect, interface_name, ping
from wgbind.keys import PresharedKey, PrivateKey


def test_clients_of_wg_quick_go_on(topology: Topology, tmp_path: Path) -> None:
    name = interface_name()
    server = Wgbind(topology.server, tmp_path, name)
    server_key, client_key = PrivateKey.generate(), PrivateKey.generate()
    psk = PresharedKey.generate().reveal()
    marks = tmp_path / "hooks"
    old = f"""\
[Interface]
Address = 10.66.66.1/24, fd42:42:42::1/64 # one and
Address = 10.66.66.7 # another
ListenPort = 51821
PrivateKey = {server_key.reveal()}
PostUp = iptables -t nat -A POSTROUTING -o lan -j MASQUERADE
PreUp = echo pre-up %i >>{marks}
PostUp = echo post-up $(ip -o link show %i | wc -l) >>{marks}
PreDown = echo pre-down >>{marks}
PostDown = echo post-down >>{marks}; false

### Client alice
[Peer]
PublicKey = {client_key.public_key()}
PresharedKey = {psk}
AllowedIPs = 10.66.66.2/32,fd42:42:42::2/128
"""
    file = tmp_path / f"{name}.conf"
    file.touch(0o600)
    file.write_text(old.replace("PostUp = iptables", "# PostUp = iptables"))
    imported = server.run("config", "import", str(file))
    assert f"{name} is made of {file}: 1 peer" in imported.stdout
    assert "PreUp: echo pre-up %i" in imported.stderr
    assert "not run" in imported.stderr
    server.rewrite(('preset = ["hub"]', 'preset = ["gateway"]'))
    server.start()
    assert not marks.exists()

    configuration = f"""\
[Interface]
PrivateKey = {client_key.reveal()}
Address = 10.66.66.2/32, fd42:42:42::2/128

[Peer]
PublicKey = {server_key.public_key()}
PresharedKey = {psk}
Endpoint = {topology.server_to_a.ipv4}:51821
AllowedIPs = 0.0.0.0/0, ::/0
"""
    lan = topology.lan_host
    networks = ("10.66.66.0/24", "fd42:42:42::/64", f"{lan.ipv4}/32", f"{lan.ipv6}/128")
    connect(topology.a, configuration, tmp_path, *networks)
    assert ping(topology.a, "10.66.66.1").received > 0
    assert ping(topology.a, "10.66.66.7").received > 0
    # It comes out as it was, but for what wgbind says in comments of its own.
    again = server.run("config", "export", "--server", name).stdout
    assert re.sub(r"(?m)^#: .*\n", "", again) == file.read_text()
    assert ping(topology.a, lan.ipv6).received > 0
    assert server.peer_status("alice")["rx_bytes"] > 0
    server.stop()
    assert not marks.exists()

    # Asked for, they run.
    server.rewrite(("run_hooks = false", "run_hooks = true"))
    server.start()
    assert marks.read_text().splitlines() == [f"pre-up {name}", "post-up 1"]
    server.stop()
    assert marks.read_text().splitlines()[2:] == ["pre-down", "post-down"]
    assert "it ended with 1" in server.runtime.joinpath(f"{name}.log").read_text()

    # A hook that fails ends the start, and nothing is left of it.
    server.rewrite((f"echo pre-up %i >>{marks}", "echo no luck >&2; exit 7"))
    refused = server.run("server", "start", name, check=False)
    assert refused.returncode == 1
    assert re.fullmatch(
        r"error: wg_quick: PreUp .*: it ended with 7: no luck; .*\n", refused.stderr
    )
    assert name not in topology.server.interfaces()


def test_an_exported_server_runs_under_wg_quick(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.start()
    server.peer("add", "phone", "--no-qr")
    server.peer("add", "later", "--no-qr")
    server.peer("disable", "later")
    file = tmp_path / f"{server.name}.conf"
    server.run("config", "export", "--server", server.name, "--out", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    server.stop()
    stripped = topology.server.run(["wg-quick", "strip", str(file)]).stdout
    assert stripped.splitlines().count("[Peer]") == 1
    # The same server again, under another name.
    again = Wgbind(topology.server, tmp_path / "again")
    again.run("config", "import", str(file), "--name", again.name)
    again.start()
    assert again.configured_peers() == server.configured_peers()
    assert again.status()["addresses"] == server.status()["addresses"]
