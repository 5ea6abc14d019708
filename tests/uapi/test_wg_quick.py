"""`wg-quick` with its keys, on both programs: a server, and a client that sends all through it."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import Link, Namespace, interface_name, ping, veth, wg, wg_quick
from uapi.device import IMPLEMENTATIONS

PORT = 51820


@dataclass(frozen=True)
class Side:
    """One host, and the file that brings its interface up.

    Attributes:
        namespace: The host.
        path: The file, named after the interface.
        implementation: The program that is to make the interface.
    """

    namespace: Namespace
    path: Path
    implementation: str

    @property
    def interface(self) -> str:
        return self.path.stem

    def run(self, command: str) -> str:
        return wg_quick(self.namespace, command, self.path, implementation=self.implementation)


@dataclass(frozen=True)
class Sides:
    """Server and client, neither of them up yet, and where the server is reached."""

    server: Side
    client: Side
    keys: dict[str, str]
    link: Link


@pytest.fixture(params=IMPLEMENTATIONS)
def sides(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sides]:
    link = Link.random()
    with Namespace("client") as one, Namespace("server") as two:
        addresses = (link.host(1).with_prefix(), link.host(2).with_prefix())
        veth(one, two, ("uplink", "uplink"), addresses)
        keys = {}
        for name in ("server", "client"):
            keys[name] = wg(one, "genkey").strip()
            keys[f"{name} public"] = wg(one, "pubkey", text=keys[name]).strip()
        keys["preshared"] = wg(one, "genpsk").strip()
        made = []
        for namespace in (two, one):
            folder = tmp_path / namespace.name
            folder.mkdir()
            path = folder / f"{interface_name()}.conf"
            path.touch(0o600)
            made.append(Side(namespace, path, request.param))
        yield Sides(made[0], made[1], keys, link)


def test_a_full_tunnel(sides: Sides, tmp_path: Path) -> None:
    server, client, keys = sides.server, sides.client, sides.keys
    log = tmp_path / "hooks"
    hooks = "".join(
        f"{key} = echo {key} %i >> {log}\n" for key in ("PreUp", "PreUp", "PostUp", "PostUp")
    )
    hooks += "".join(f"{key} = echo {key} %i >> {log}\n" for key in ("PreDown", "PostDown"))
    server.path.write_text(
        f"[Interface]\nAddress = 10.77.0.1/24, fd77::1/64 # two\nAddress = 10.78.0.1/24\n"
        f"ListenPort = {PORT}\nPrivateKey = {keys['server']}\nMTU = 1380\nTable = 1234\n"
        f"FwMark = 0x77\nSaveConfig = true\n{hooks}"
        f"[Peer]\nPublicKey = {keys['client public']}\nPresharedKey = {keys['preshared']}\n"
        f"AllowedIPs = 10.77.0.2/32, fd77::2/128\nAllowedIPs = 10.79.0.0/16\n"
    )
    host = server.namespace
    server.run("up")
    (link,) = host.ip_json("address", "show", server.interface)
    found = {f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"]}
    assert {"10.77.0.1/24", "10.78.0.1/24", "fd77::1/64"} <= found
    assert link["mtu"] == 1380
    assert "10.79.0.0/16" in host.ip("route", "show", "table", "1234")
    assert wg(host, "show", server.interface, "fwmark") == "0x77\n"
    hook = [f"{key} {server.interface}" for key in ("PreUp", "PreUp", "PostUp", "PostUp")]
    assert log.read_text().splitlines() == hook

    endpoint = f"[{sides.link.host(2).ipv6}]:{PORT}"
    client.path.write_text(
        f"[Interface]\nAddress = 10.77.0.2/32, fd77::2/128\nPrivateKey = {keys['client']}\n"
        f"DNS = 9.9.9.9, example.org\n"
        f"[Peer]\nPublicKey = {keys['server public']}\nPresharedKey = {keys['preshared']}\n"
        f"AllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = {endpoint}\nPersistentKeepalive = 25\n"
    )
    guest = client.namespace
    before = _state(guest)
    client.run("up")
    assert wg(guest, "show", client.interface, "fwmark") == "0xca6c\n"
    for address in ("192.0.2.1", "2001:db8::1"):
        assert guest.ip_json("route", "get", address)[0]["dev"] == client.interface
    for address in ("10.77.0.1", "fd77::1"):
        assert ping(guest, address).lost == 0
    # Routes of the server's own table: a rule says who is to use it.
    for version in ("-4", "-6"):
        host.ip(version, "rule", "add", "table", "1234")
    assert ping(host, "10.77.0.2").lost == 0
    assert client.path.with_name("resolvconf").read_text().startswith("nameserver 9.9.9.9\n")
    client.run("down")
    assert client.interface not in guest.interfaces()
    assert _state(guest) == before
    _wait_until_empty(guest)

    other = wg(host, "pubkey", text=wg(host, "genkey")).strip()
    wg(host, "set", server.interface, "peer", other, "allowed-ips", "10.80.0.0/16")
    server.run("down")
    assert log.read_text().splitlines() == [
        *hook,
        f"PreDown {server.interface}",
        f"PostDown {server.interface}",
    ]
    assert server.interface not in host.interfaces()
    _wait_until_empty(host)
    saved = server.path.read_text()
    assert f"PublicKey = {other}" in saved
    assert "SaveConfig = true" in saved
    assert re.search(rf"ListenPort = {PORT}\n", saved)


@pytest.mark.parametrize("table", ["off", "auto"])
def test_table(sides: Sides, table: str) -> None:
    client, keys = sides.client, sides.keys
    client.path.write_text(
        f"[Interface]\nAddress = 10.77.0.2/32\nPrivateKey = {keys['client']}\nTable = {table}\n"
        f"[Peer]\nPublicKey = {keys['server public']}\nAllowedIPs = 10.79.0.0/16\n"
    )
    client.run("up")
    routes = json.dumps(client.namespace.ip_json("route"))
    assert ("10.79.0.0/16" in routes) == (table == "auto")
    stripped = client.run("strip")
    assert "AllowedIPs = 10.79.0.0/16" in stripped
    assert "Address" not in stripped
    client.run("save")
    assert "10.77.0.2/32" in client.path.read_text()
    client.run("down")
    _wait_until_empty(client.namespace)


def _wait_until_empty(namespace: Namespace) -> None:
    """Wait until the program has ended: of its interface's end it hears behind wg-quick."""
    deadline = time.monotonic() + 60
    while namespace.pids():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _state(namespace: Namespace) -> tuple[str, ...]:
    """Return what wg-quick changes on a host."""
    rules = (namespace.ip(version, "rule") for version in ("-4", "-6"))
    return (*rules, namespace.ip("route"), namespace.run(["nft", "list", "ruleset"]).stdout)
