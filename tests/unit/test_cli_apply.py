"""`wgbind apply` on a stopped server: what it shows, asks for and refuses."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from unit.command import Wgbind, refused
from wgbind import PresharedKey, Server
from wgbind.apply.schema import apply_schema

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = {
    "settings": {"policy": {"groups": ["staff"]}},
    "peers": {"a": {"groups": ["staff"]}, "b": {}},
}


def write(folder: Path, document: object) -> str:
    path = folder / "document.json"
    path.write_text(json.dumps(document))
    return str(path)


def test_the_difference_comes_first(initialised: Wgbind, tmp_path: Path) -> None:
    path = write(tmp_path, DOCUMENT)
    planned = initialised("apply", path, "--plan")
    assert planned.out.splitlines() == [
        '~ policy.groups [] -> ["staff"]',
        "+ peer a: groups staff",
        "+ peer b",
        "To do: 2 added, 1 settings.",
    ]
    said = initialised("apply", path, "--plan", "--json").json()
    assert said["applied"] is False
    assert [peer["name"] for peer in said["peers"]] == ["a", "b"]
    assert Server("wg0").peers.list() == []
    refused(initialised("apply", path), 2, "2 new peers, a the first", "--out")
    out = tmp_path / "keys.zip"
    applied = initialised("apply", path, "--out", str(out))
    assert applied.out.splitlines()[-2:] == [
        "Applied: 2 added, 1 settings.",
        f"Configurations of 2 new peers are in {out}.",
    ]
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == ["a.conf", "b.conf"]
    assert initialised("apply", path, "--out", str(out)).out == "Nothing changes.\n"
    assert initialised("apply", path, "--json").json()["applied"] is False


def test_removal_has_to_be_confirmed(initialised: Wgbind, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        initialised("peer", "add", name)
    path = write(tmp_path, {"peers": {"b": {"description": "one"}}})
    refused(initialised("apply", path, "--prune"), 2, "Remove 2 peers of wg0?", "--yes")
    assert len(Server("wg0").peers.list()) == 3
    pruned = initialised("apply", path, "--prune", "--yes")
    assert pruned.out.splitlines() == [
        "~ peer b: description one",
        "- peer a",
        "- peer c",
        "Applied: 1 changed, 2 removed.",
    ]


def test_a_document_comes_by_standard_input(initialised: Wgbind) -> None:
    for text in ('{"peers": {"a": {}}}', "[peers.a]\n", "peers:\n  a: {}\n"):
        assert "+ peer a" in initialised("apply", "-", "--plan", stdin=text).out
    refused(initialised("apply", "-", stdin="peers: {a: {x: 1}}"), 2, "standard input:1: key peers")
    refused(initialised("apply", "nowhere.json"), 1, "nowhere.json")


def test_secrets_are_for_their_owner(initialised: Wgbind, tmp_path: Path) -> None:
    secret = PresharedKey.generate().reveal()
    path = write(tmp_path, {"peers": {"a": {"preshared_key": secret}}})
    Path(path).chmod(0o644)
    refused(initialised("apply", path, "--plan"), 2, "holds secrets", "chmod 600")
    Path(path).chmod(0o600)
    planned = initialised("apply", path, "--plan")
    assert "preshared_key (secret)" in planned.out
    assert secret not in planned.out


def test_published_schema_is_current_and_knows_documents() -> None:
    schema = json.loads(DOCS.joinpath("apply.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    assert json.loads(apply_schema()) == schema, "run `make schema`"
    validator = Draft202012Validator(schema)
    validator.validate(DOCUMENT)
    validator.validate({"settings": {"client": {"mtu": None, "endpoint": "vpn.example.org"}}})
    wrong: list[Any] = [
        {"peer": {}},
        {"peers": {"a": {"group": []}}},
        {"peers": {"a": {"enabled": 1}}},
        {"settings": {"interface": {"mtu": "x"}}},
        {"settings": {"inter": {}}},
    ]
    for each in wrong:
        assert not validator.is_valid(each), each


@pytest.mark.parametrize("form", ["json", "yaml", "toml"])
def test_what_is_exported_can_be_applied(grouped: Wgbind, tmp_path: Path, form: str) -> None:
    grouped("peer", "add", "a", "--group", "staff", "--expires", "2126-12-31")
    grouped("peer", "add", "site", "--no-psk", "--route", "192.168.7.0/24", "--mtu", "1300")
    path = tmp_path / f"peers.{form}"
    exported = grouped("peer", "export", "--secrets", "--out", str(path))
    assert exported.out == f"2 peers are in {path}.\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert grouped("apply", str(path), "--prune", "--plan").out == "Nothing changes.\n"
    refused(grouped("peer", "export", "--out", str(path)), 1, "exists")
