"""Commands that change many peers at once, on a stopped server."""

import re
import sqlite3
import zipfile
from pathlib import Path

import pytest

from unit.command import Wgbind, refused
from wgbind import NewPeer, Server


@pytest.fixture
def many(grouped: Wgbind) -> Wgbind:
    """Ten peers, of which every other one is in the group staff."""
    Server("wg0").peers.add_many(
        NewPeer(f"p{number}", groups=("staff",) if number % 2 else ()) for number in range(10)
    )
    return grouped


def names(wgbind: Wgbind, *options: str) -> list[str]:
    return [peer["name"] for peer in wgbind("peer", "list", "--json", *options).json()]


def test_many_are_disabled_enabled_and_changed(many: Wgbind) -> None:
    disabled = many("peer", "disable", "--in-group", "staff")
    assert disabled.out.splitlines() == [f"p{number} is disabled." for number in (1, 3, 5, 7, 9)]
    assert names(many, "--state", "disabled") == ["p1", "p3", "p5", "p7", "p9"]
    enabled = many("peer", "enable", "--state", "disabled", "--match", "p[1-5]", "--json").json()
    assert [peer["name"] for peer in enabled] == ["p1", "p3", "p5"]
    many("peer", "set", "--match", "p?", "--expires", "2126-01-01", "--group", "guests")
    reports = many("peer", "list", "--json").json()
    assert {peer["expires_at"] for peer in reports} == {"2126-01-02T00:00:00Z"}
    assert {tuple(peer["groups"]) for peer in reports} == {("guests",), ("guests", "staff")}
    assert names(many, "--expires-before", "2126-01-03T00:00:00Z", "--reverse") == [
        f"p{number}" for number in reversed(range(10))
    ]
    assert names(many, "--expires-before", "30d") == []
    changed = many("peer", "set", "p1", "p2", "--mtu", "1300", "--json").json()
    assert [peer["name"] for peer in changed] == ["p1", "p2"]
    assert {peer.client.mtu for peer in Server("wg0").peers.list()} == {1300, None}


def test_one_mistake_leaves_all_as_they_are(many: Wgbind) -> None:
    before = many("peer", "list", "--json").json()
    refused(many("peer", "disable", "p1", "p2", "nobody"), 1, "'nobody'")
    refused(many("peer", "set", "p1", "p2", "--description", "two\nlines"), 2, "description")
    refused(many("peer", "set", "--in-group", "staff", "--group", "xyz"), 2, "'xyz'")
    refused(many("peer", "set", "p1", "p2", "--name", "one"), 2, "one peer's alone")
    refused(many("peer", "set", "--match", "p*", "--route", "192.0.2.0/24"), 2, "one peer's alone")
    refused(many("peer", "disable", "p1", "--match", "p*"), 2, "not both")
    refused(many("peer", "disable"), 2, "--match", "--in-group")
    refused(many("peer", "disable", "--silent-since", "lately"), 2, "'lately'")
    assert many("peer", "list", "--json").json() == before


def test_removal_by_options_has_to_be_confirmed(
    many: Wgbind, private_dirs: dict[str, Path]
) -> None:
    refused(
        many("peer", "remove", "--in-group", "staff"),
        *(2, "p1, p3, p5, p7, p9", "--yes"),
    )
    with sqlite3.connect(private_dirs["WGBIND_STATE_DIR"] / "wgbind.db") as connection:
        connection.execute("update peer set created_at = '2020-01-01 00:00:00' where name < 'p5'")
    connection.close()
    removed = many("peer", "remove", "--silent-since", "1d", "--yes", "--json").json()
    assert [peer["name"] for peer in removed] == ["p0", "p1", "p2", "p3", "p4"]
    nobody = many("peer", "remove", "--match", "q*", "--yes")
    assert (nobody.code, nobody.out) == (0, "")
    assert "nothing is changed" in nobody.err
    assert names(many) == ["p5", "p6", "p7", "p8", "p9"]


def test_many_get_new_keys(many: Wgbind, tmp_path: Path) -> None:
    before = {peer.name: peer.public_key for peer in Server("wg0").peers.list()}
    out = tmp_path / "new.zip"
    refused(many("peer", "rotate", "--in-group", "staff", "--yes"), 2, "--out")
    refused(many("peer", "rotate", "--in-group", "staff", "--out", str(out)), 2, "--yes")
    rotated = many("peer", "rotate", "--in-group", "staff", "--out", str(out), "--yes")
    assert rotated.out == f"5 peers have new keys; their configurations are in {out}.\n"
    after = {peer.name: peer.public_key for peer in Server("wg0").peers.list()}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"p1", "p3", "p5", "p7", "p9"}
    with zipfile.ZipFile(out) as archive:
        assert set(archive.namelist()) == {f"{name}.conf" for name in changed}
        assert all(
            re.search(rb"^PrivateKey = .{44}$", archive.read(name), re.MULTILINE)
            for name in archive.namelist()
        )


def test_configurations_of_many_and_for_endpoints(
    many: Wgbind, private_dirs: dict[str, Path], tmp_path: Path
) -> None:
    refused(many("peer", "config", "p1", "--endpoint", "all"), 2, "[client.endpoints]")
    settings = private_dirs["WGBIND_CONFIG_DIR"] / "wg0.toml"
    text = settings.read_text()
    assert "# v4 = " in text
    settings.write_text(
        text.replace(
            "[client.endpoints]",
            '[client.endpoints]\nv4 = "203.0.113.7"\nv6 = "[2001:db8::7]:443"\n'
            'name = "vpn.example.org"\n',
        )
    )
    assert "Endpoint = 203.0.113.7:51820\n" in many("peer", "config", "p1", "--endpoint", "v4").out
    assert "Endpoint = [2001:db8::7]:443\n" in many("peer", "config", "p1", "--endpoint", "v6").out
    refused(many("peer", "config", "p1", "--endpoint", "v5"), 2, "'v5'", "v4, v6, name")
    refused(many("peer", "config", "--match", "p*"), 2, "--out DIRECTORY")
    out = tmp_path / "out"
    many("peer", "config", "p1", "p2", "--endpoint", "all", "--out", str(out))
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{peer}-{way}.conf" for peer in ("p1", "p2") for way in ("v4", "v6", "name")
    )
    said = many("peer", "config", "p1", "--endpoint", "all", "--json").json()
    assert [each["endpoint"] for each in said] == ["v4", "v6", "name"]
    this_time = many(
        *("peer", "config", "p1", "--allowed-ips", "10.0.0.0/8", "--dns", "9.9.9.9"),
        *("--mtu", "1300"),
    ).out
    for line in ("AllowedIPs = 10.0.0.0/8", "DNS = 9.9.9.9", "MTU = 1300"):
        assert f"{line}\n" in this_time
    assert "MTU" not in many("peer", "config", "p1").out
    refused(many("peer", "config", "p1", "--mtu", "12"), 2, "mtu: 12 is too small")
    refused(many("peer", "config", "p1", "--mtu", "much"), 2, "mtu: 'much' is not a whole number")


def test_codes(many: Wgbind, private_dirs: dict[str, Path], tmp_path: Path) -> None:
    refused(many("peer", "qr", "p1"), 2, "not stored", "wgbind peer rotate p1 --qr")
    settings = private_dirs["WGBIND_CONFIG_DIR"] / "wg0.toml"
    text = settings.read_text()
    settings.write_text(text.replace("store_private_keys = false", "store_private_keys = true"))
    image = tmp_path / "phone.png"
    assert many("peer", "add", "phone", "--out", str(image)).code == 0
    assert image.read_bytes().startswith(b"\x89PNG")
    assert image.stat().st_mode & 0o777 == 0o600
    refused(many("peer", "add", "tablet", "--out", str(image)), 1, "there already")
    assert "tablet" not in names(many)
    assert "█" in many("peer", "qr", "phone").out
    assert many("peer", "qr", "phone", "--format", "svg").out.startswith("<?xml")
    drawn = tmp_path / "again.svg"
    assert many("peer", "qr", "phone", "--out", str(drawn)).code == 0
    assert drawn.read_bytes() == many("peer", "qr", "phone", "--format", "svg").out.encode()
