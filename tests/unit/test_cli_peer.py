"""The life of a peer at the command line, on a stopped server."""

import os
import pty
import re
import sqlite3
import sys
from pathlib import Path

import pytest

from unit.command import Wgbind, refused
from wgbind import InputError, PrivateKey, Server
from wgbind.cli import app


def test_peers_are_put_into_groups_and_taken_out(grouped: Wgbind) -> None:
    def groups() -> dict[str, list[str]]:
        return {peer["name"]: peer["groups"] for peer in grouped("peer", "list", "--json").json()}

    added = grouped("peer", "add", "a", "--group", "staff", "--group", "guests", "--json").json()
    assert added["peer"]["groups"] == ["guests", "staff"]
    grouped("peer", "add", "b")
    assert groups() == {"a": ["guests", "staff"], "b": []}
    assert grouped("peer", "set", "b", "--group", "staff").out == "b is in staff now.\n"
    left = grouped("peer", "set", "a", "--no-group", "staff", "--no-group", "guests")
    assert left.out == "a is in no group now.\n"
    assert grouped("peer", "set", "a", "--no-group", "staff", "--json").json()["groups"] == []
    assert groups() == {"a": [], "b": ["staff"]}
    (listed,) = grouped("peer", "list", "--group", "staff", "--json").json()
    assert listed["name"] == "b"
    assert re.search(r"^b +never +staff +", grouped("peer", "list").out, re.MULTILINE)
    assert "staff" in grouped("peer", "show", "b").out
    nobody = grouped("peer", "list", "--group", "guests")
    assert (nobody.code, nobody.out) == (0, "")
    assert "no peer of wg0 is in group 'guests'" in nobody.err


def test_group_that_no_settings_name_is_refused(grouped: Wgbind) -> None:
    refused(grouped("peer", "add", "a", "--group", "stff"), 2, "'stff'", "staff")
    refused(grouped("peer", "add", "a", "--group", "xyz"), 2, "'xyz'", "staff, guests", "policy.")
    assert grouped("peer", "list", "--json").json() == []
    grouped("peer", "add", "a", "--group", "staff")
    for arguments in (("--group", "xyz"), ("--no-group", "xyz")):
        refused(grouped("peer", "set", "a", *arguments), 2)
    refused(grouped("peer", "set", "a", "--group", "guests", "x"), 1, "'x'")
    refused(grouped("peer", "set", "a"), 2, "--group")
    refused(grouped("peer", "set", "nobody", "--group", "staff"), 1, "nobody")
    with pytest.raises(InputError, match="'xyz'"):
        Server("wg0").peers.update("a", groups=frozenset({"xyz"}))
    assert Server("wg0").peers.get("a").groups == {"staff"}


def test_group_that_is_gone_from_the_settings_can_be_left(
    grouped: Wgbind, private_dirs: dict[str, Path]
) -> None:
    grouped("peer", "add", "a", "--group", "staff", "--group", "guests")
    settings = private_dirs["WGBIND_CONFIG_DIR"] / "wg0.toml"
    settings.write_text(settings.read_text().replace('["staff", "guests"]', '["guests"]'))
    assert grouped("peer", "list", "--group", "staff", "--json").json() != []
    assert grouped("peer", "set", "a", "--no-group", "staff").out == "a is in guests now.\n"


def test_every_field_of_a_peer_is_set_all_or_nothing(grouped: Wgbind) -> None:
    grouped("peer", "add", "phone", "--no-psk", "--description", "one", "--expires", "30d")
    before = grouped("peer", "show", "phone", "--json").json()
    assert before["description"] == "one"
    assert before["state"] == "never"
    refused(
        grouped(*("peer", "set", "phone", "--name", "mobile", "--address", "203.0.113.1")),
        2,
        "203.0.113.1",
    )
    for wrong in (
        ("--name", "a/b"),
        ("--description", "two\nlines"),
        ("--expires", "soon"),
        ("--expires", "2020-01-01T00:00:00Z"),
        ("--endpoint", "192.0.2.1"),
        ("--keepalive", "65536"),
        ("--route", "none", "--route", "192.168.7.0/24"),
    ):
        refused(grouped("peer", "set", "phone", "--group", "staff", *wrong), 2, wrong[1].split()[0])
    assert grouped("peer", "show", "phone", "--json").json() == before
    changed = grouped(
        *("peer", "set", "phone", "--name", "mobile", "--description", "two", "--psk", "on"),
        *("--expires", "2126-12-31", "--endpoint", "[2001:db8::1]:7", "--keepalive", "25"),
        *("--route", "192.168.7.0/24", "--group", "staff", "--json"),
    ).json()
    assert changed == before | {
        "name": "mobile",
        "description": "two",
        "has_preshared_key": True,
        "expires_at": "2127-01-01T00:00:00Z",
        "endpoint": "[2001:db8::1]:7",
        "persistent_keepalive": 25,
        "allowed_ips": [*before["allowed_ips"], "192.168.7.0/24"],
        "groups": ["staff"],
    }
    secret = Server("wg0").peers.get("mobile").preshared_key
    assert grouped("peer", "set", "mobile", "--psk", "on").code == 0
    assert Server("wg0").peers.get("mobile").preshared_key == secret
    assert grouped("peer", "set", "mobile", "--psk", "new").code == 0
    renewed = Server("wg0").peers.get("mobile").preshared_key
    assert renewed is not None
    assert renewed != secret
    cleared = grouped(
        *("peer", "set", "mobile", "--expires", "never", "--endpoint", "none", "--route", "none"),
        *("--psk", "off", "--json"),
    ).json()
    assert [cleared[key] for key in ("expires_at", "endpoint")] == [None, None]
    assert cleared["has_preshared_key"] is False
    assert cleared["allowed_ips"] == before["allowed_ips"]


def test_disabled_and_expired_peers(initialised: Wgbind, private_dirs: dict[str, Path]) -> None:
    for name in ("a", "b", "c"):
        initialised("peer", "add", name, "--expires", "1h")
    assert initialised("peer", "disable", "a").out == "a is disabled.\n"
    database = private_dirs["WGBIND_STATE_DIR"] / "wgbind.db"
    with sqlite3.connect(database) as connection:  # no command sets a date that has passed
        connection.execute("update peer set expires_at = '2026-01-01 00:00:00' where name <> 'c'")
    connection.close()

    def listed(*options: str) -> list[str]:
        return [peer["name"] for peer in initialised("peer", "list", "--json", *options).json()]

    assert listed("--state", "disabled") == ["a"]
    assert listed("--state", "expired") == ["b"]
    assert listed("--state", "disabled", "--state", "never") == ["a", "c"]
    assert listed("--sort", "state") == ["c", "a", "b"]
    assert listed("--sort", "expires") == ["a", "b", "c"]
    assert "expired" in initialised("peer", "list").out
    refused(initialised("firewall", "explain", "b -> host"), 1, "'b'", "disabled")
    for name in ("a", "b"):
        refused(initialised("peer", "enable", name), 2, name, "2026-01-01T00:00:00Z", "date")
        refused(initialised("peer", "enable", name, "--expires", "2026-01-02"), 2, "2026-01-03")
        assert re.fullmatch(
            f"{name} is enabled until .+Z.\n",
            initialised("peer", "enable", name, "--expires", "30d").out,
        )
    assert listed("--state", "never") == ["a", "b", "c"]


def test_rotated_keys_are_shown_once_and_addresses_stay(initialised: Wgbind) -> None:
    added = initialised("peer", "add", "phone", "--json").json()
    rotated = initialised("peer", "rotate", "phone", "--json").json()
    assert rotated["peer"]["allowed_ips"] == added["peer"]["allowed_ips"]
    for line in ("PrivateKey", "PresharedKey"):
        (old, new) = (
            re.findall(f"^{line} = (.+)$", each["configuration"], re.MULTILINE)
            for each in (added, rotated)
        )
        assert len(old) == len(new) == 1
        assert old != new
    assert rotated["peer"]["public_key"] != added["peer"]["public_key"]
    assert "\nPrivateKey" not in initialised("peer", "config", "phone").out
    own = str(PrivateKey.generate().public_key())
    given = initialised("peer", "rotate", "phone", "--public-key", own, "--json").json()
    assert given["peer"]["public_key"] == own
    assert "\nPrivateKey" not in given["configuration"]
    refused(initialised("peer", "rotate", "phone", "--public-key", own), 2, own)
    refused(initialised("peer", "rotate", "nobody"), 1, "nobody")


def test_several_peers_are_removed_at_once_or_none(initialised: Wgbind) -> None:
    for name in ("a", "b", "c"):
        initialised("peer", "add", name)
    refused(initialised("peer", "remove", "a", "nobody"), 1, "nobody")
    assert len(initialised("peer", "list", "--json").json()) == 3
    removed = initialised("peer", "remove", "a", "b", "--json").json()
    assert [peer["name"] for peer in removed] == ["a", "b"]
    assert initialised("peer", "remove", "--yes", "c").out == "c is removed from wg0.\n"


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 1, 1), ("y\n", 0, 0)])
def test_on_a_terminal_removal_is_asked_about(
    initialised: Wgbind, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: int
) -> None:
    initialised("peer", "add", "phone")
    terminal, ours = pty.openpty()
    try:
        os.write(terminal, answer.encode())
        with os.fdopen(ours) as stdin:
            monkeypatch.setattr(sys, "argv", ["wgbind", "peer", "remove", "phone"])
            monkeypatch.setattr(sys, "stdin", stdin)
            assert app.run() == code
    finally:
        os.close(terminal)
    assert len(Server("wg0").peers.list()) == left
