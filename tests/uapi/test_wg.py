"""`wg` of wireguard-tools: each of its commands, on both programs."""

import base64
from pathlib import Path

import pytest

from harness import wg
from uapi.control import new_keys, to_hex
from uapi.device import Device

PRESHARED = "FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE="
A = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
B = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="


def run(device: Device, *arguments: str) -> str:
    return wg(device.host, *arguments)


@pytest.fixture
def configured(device: Device, tmp_path: Path) -> Device:
    """A device that `wg set` has given all there is."""
    for name, key in (("private", run(device, "genkey")), ("preshared", PRESHARED)):
        path = tmp_path / name
        path.touch(0o600)
        path.write_text(key)
    private = ("private-key", str(tmp_path / "private"))
    run(device, "set", device.interface, *private, "listen-port", "0", "fwmark", "0xca6c")
    peer = ("peer", A, "preshared-key", str(tmp_path / "preshared"))
    more = ("endpoint", "[2001:db8::7]:51820", "persistent-keepalive", "25")
    prefixes = ("allowed-ips", "10.0.0.0/8,2001:db8::/64")
    run(device, "set", device.interface, *peer, *more, *prefixes, "peer", B)
    return device


def test_show_tells_each_thing(configured: Device) -> None:
    answer = configured.get()

    def show(what: str) -> list[list[str]]:
        printed = run(configured, "show", configured.interface, what)
        return sorted(line.split("\t") for line in printed.splitlines())

    assert to_hex(show("private-key")[0][0]) == answer.private_key
    assert len(show("public-key")[0][0]) == 44
    assert show("listen-port") == [[str(answer.listen_port)]]
    assert show("fwmark") == [["0xca6c"]]
    assert show("peers") == sorted([[A], [B]])
    assert show("preshared-keys") == sorted([[A, PRESHARED], [B, "(none)"]])
    assert show("endpoints") == sorted([[A, "[2001:db8::7]:51820"], [B, "(none)"]])
    ips = {key: set(prefixes.split(" ")) for key, prefixes in show("allowed-ips")}
    assert ips == {A: {"10.0.0.0/8", "2001:db8::/64"}, B: {"(none)"}}
    assert show("latest-handshakes") == sorted([[A, "0"], [B, "0"]])
    assert show("persistent-keepalive") == sorted([[A, "25"], [B, "off"]])
    assert [[key, received] for key, received, _ in show("transfer")] == sorted(
        [[A, "0"], [B, "0"]]
    )
    assert [configured.interface] in [
        [name] for name in run(configured, "show", "interfaces").split()
    ]


def test_dump(configured: Device) -> None:
    device, *peers = run(configured, "show", configured.interface, "dump").splitlines()
    private, public, port, mark = device.split("\t")
    assert to_hex(private) == configured.get().private_key
    assert len(public) == 44
    assert (port, mark) == (str(configured.get().listen_port), "0xca6c")
    fields = {line.split("\t")[0]: line.split("\t")[1:] for line in peers}
    assert fields[B] == ["(none)", "(none)", "(none)", "0", "0", "0", "off"]
    assert fields[A][:2] == [PRESHARED, "[2001:db8::7]:51820"]
    assert fields[A][-1] == "25"
    every = run(configured, "show", "all", "dump").splitlines()
    assert f"{configured.interface}\t{device}" in every


def test_set_clears_with_empty_files(configured: Device) -> None:
    keys = ("private-key", "/dev/null", "peer", A, "preshared-key", "/dev/null")
    run(configured, "set", configured.interface, *keys)
    answer = configured.get()
    assert answer.private_key is None
    assert answer.peers[to_hex(A)].preshared_key == "0" * 64
    printed = run(configured, "show", configured.interface, "private-key")
    assert printed == "(none)\n"


def test_setconf_takes_what_showconf_gave(configured: Device, tmp_path: Path) -> None:
    shown = run(configured, "showconf", configured.interface)
    path = tmp_path / "shown.conf"
    path.write_text(shown)
    before = configured.get()
    configured.reset()
    run(configured, "setconf", configured.interface, str(path))
    after = configured.get()
    assert (after.private_key, after.fwmark) == (before.private_key, before.fwmark)
    assert after.listen_port == before.listen_port
    assert set(after.peers) == set(before.peers)
    assert sorted(run(configured, "showconf", configured.interface)) == sorted(shown)


def test_setconf_replaces(configured: Device, tmp_path: Path) -> None:
    _, key = new_keys()
    path = tmp_path / "other.conf"
    path.write_text(f"[Peer]\nPublicKey = {_base64(key)}\nAllowedIPs = 10.1.0.0/16\n")
    run(configured, "setconf", configured.interface, str(path))
    assert set(configured.get().peers) == {key}


def test_addconf_adds(configured: Device, tmp_path: Path) -> None:
    _, key = new_keys()
    path = tmp_path / "more.conf"
    path.write_text(f"[Peer]\nPublicKey = {_base64(key)}\nAllowedIPs = 10.1.0.0/16\n")
    before = configured.get().peers
    run(configured, "addconf", configured.interface, str(path))
    after = configured.get().peers
    assert set(after) == {*before, key}
    assert after[to_hex(A)].allowed_ips == before[to_hex(A)].allowed_ips


def test_syncconf_changes_what_differs(configured: Device, tmp_path: Path) -> None:
    path = tmp_path / "sync.conf"
    path.write_text(f"[Interface]\nFwMark = 7\n[Peer]\nPublicKey = {A}\nAllowedIPs = ::/0\n")
    run(configured, "syncconf", configured.interface, str(path))
    answer = configured.get()
    assert list(answer.peers) == [to_hex(A)]
    peer = answer.peers[to_hex(A)]
    assert peer.allowed_ips == ["::/0"]
    # wg leaves alone the endpoint that is not in the file: it may be where the peer has roamed to.
    assert peer.endpoint == "[2001:db8::7]:51820"
    assert answer.fwmark == 7


def test_remove(configured: Device) -> None:
    run(configured, "set", configured.interface, "peer", A, "remove")
    assert list(configured.get().peers) == [to_hex(B)]


def test_an_interface_that_is_not_there(device: Device) -> None:
    assert device.host.run(["wg", "show", "doesnotexist"], check=False).returncode != 0


def _base64(key: str) -> str:
    return base64.b64encode(bytes.fromhex(key)).decode()
