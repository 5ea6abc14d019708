"""`wgbind peer import` and `export`: peers from files of others, and into files."""

import json
import zipfile
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from unit.command import Wgbind, refused
from wgbind import PresharedKey, PrivateKey, Server

KEYS = [str(PrivateKey.generate().public_key()) for _ in range(3)]
SECRET = PresharedKey.generate().reveal()


@pytest.fixture
def peopled(grouped: Wgbind) -> Wgbind:
    grouped("peer", "add", "phone", "--group", "staff", "--description", "one, two")
    grouped("peer", "add", "site", "--no-psk", "--route", "192.168.7.0/24", "--dns", "9.9.9.9")
    grouped("peer", "set", "site", "--endpoint", "site.example.org:9", "--keepalive", "25")
    grouped("peer", "disable", "phone")
    grouped("peer", "set", "phone", "--notes", "one,\ntwo")
    return grouped


@pytest.mark.parametrize("form", ["csv", "json", "yaml", "toml"])
def test_peers_leave_and_come_back_as_they_were(peopled: Wgbind, tmp_path: Path, form: str) -> None:
    before = Server("wg0").peers.list()
    path = tmp_path / f"peers.{form}"
    assert peopled("peer", "export", "--secrets", "--out", str(path)).code == 0
    assert "2 of 2 peers are here already" in peopled("peer", "import", str(path)).err
    peopled("peer", "remove", "phone", "site")
    planned = peopled("peer", "import", str(path), "--plan")
    assert "2 peers would be added." in planned.out
    assert Server("wg0").peers.list() == []
    imported = peopled("peer", "import", str(path))
    assert imported.out.splitlines()[-1] == "2 peers are added."
    after = Server("wg0").peers.list()
    assert after == [
        replace(old, created_at=new.created_at) for old, new in zip(before, after, strict=True)
    ]


def test_secrets_leave_only_if_asked(peopled: Wgbind) -> None:
    secret = Server("wg0").peers.get("phone").preshared_key
    assert secret is not None
    for form in ("csv", "json", "yaml", "toml"):
        assert secret.reveal() not in peopled("peer", "export", "--format", form).out
        assert secret.reveal() in peopled("peer", "export", "--secrets", "--format", form).out


def test_some_leave_as_configurations(peopled: Wgbind, tmp_path: Path) -> None:
    archive = tmp_path / "some.zip"
    peopled("peer", "export", "--in-group", "staff", "--out", str(archive))
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == ["phone.conf"]
    (name,) = json.loads(peopled("peer", "export", "site").out)["peers"]
    assert name == "site"
    refused(peopled("peer", "export", "nobody"), 1, "'nobody'")
    refused(peopled("peer", "export", "--out", str(tmp_path / "x.txt")), 2, "tells no format")


def test_peers_of_a_wg_quick_server_come(initialised: Wgbind, tmp_path: Path) -> None:
    network = Server("wg0").configuration().settings.interface.addresses[0].network
    first, second = network[7], network[8]
    path = tmp_path / "old.conf"
    path.write_text(
        f"""[Interface]
PrivateKey = {PrivateKey.generate().reveal()}
Address = 10.1.0.1/24

### Client alice
[Peer]
PublicKey = {KEYS[0]}
PresharedKey = {SECRET}
AllowedIPs = {first}/32, 192.168.9.0/24
PersistentKeepalive = 25

[Peer]
# Name = bob
PublicKey = {KEYS[1]}
AllowedIPs = {second}/32
Endpoint = 192.0.2.7:51820
"""
    )
    planned = initialised("peer", "import", str(path), "--plan", "--json").json()
    assert [(peer["name"], peer["addresses"]) for peer in planned] == [
        ("alice", [str(first)]),
        ("bob", [str(second)]),
    ]
    assert initialised("peer", "import", str(path)).code == 0
    alice, bob = Server("wg0").peers.list()
    assert str(alice.public_key) == KEYS[0]
    assert alice.preshared_key == PresharedKey(SECRET)
    assert alice.addresses == (first,)
    assert alice.routed_networks == (ip_network("192.168.9.0/24"),)
    assert alice.persistent_keepalive == 25
    assert bob.endpoint == ("192.0.2.7", 51820)
    assert bob.preshared_key is None
    path.write_text(path.read_text() + "PublicKy = x\n")
    refused(initialised("peer", "import", str(path)), 2, f"{path}:", "PublicKy", "PublicKey")


def test_a_client_of_this_server_comes_by_its_own_configuration(
    initialised: Wgbind, tmp_path: Path
) -> None:
    path = tmp_path / "phone.conf"
    path.write_text(initialised("peer", "add", "phone").out)
    before = Server("wg0").peers.get("phone")
    assert "1 of 1 peers are here already" in initialised("peer", "import", str(path)).err
    initialised("peer", "remove", "phone")
    assert initialised("peer", "import", str(path)).out.splitlines()[0] == "phone is added."
    after = Server("wg0").peers.get("phone")
    assert after == replace(before, created_at=after.created_at)


def test_new_keys_need_a_place(initialised: Wgbind, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("name\na\nb\n")
    refused(initialised("peer", "import", str(path)), 2, "2 new peers, a the first", "--out")
    folder = tmp_path / "out"
    assert initialised("peer", "import", str(path), "--out", str(folder)).code == 0
    assert sorted(each.name for each in folder.iterdir()) == ["a.conf", "b.conf"]
    path.write_text("name\nc\nb/d\n")
    refused(initialised("peer", "import", str(path), "--out", str(tmp_path / "x")), 2, "'b/d'")
    assert len(Server("wg0").peers.list()) == 2
