"""Documents that say what a server shall be: read, compared, applied, and refused."""

import json
import sys
import time
from datetime import datetime, timezone
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from wgbind import ConflictError, InputError, NotFoundError, PresharedKey, PrivateKey, Server
from wgbind.apply.document import Document
from wgbind.apply.export import exported
from wgbind.settings import toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEY = str(PrivateKey.generate().public_key())

TOML = f"""
[settings.policy]
groups = ["staff", "guests"]

[settings.client.endpoints]
v4 = "203.0.113.7"

[peers.alice]
groups = ["staff"]
description = "first"
expires_at = 2126-12-31

[peers.site]
public_key = "{KEY}"
preshared_key = false
routed_networks = ["192.168.7.0/24"]
endpoint = "site.example.org:51820"
persistent_keepalive = 25
enabled = false
client = {{ allowed_ips = "split", mtu = 1300 }}
"""


@pytest.fixture
def server(private_dirs: dict[str, Path]) -> Server:
    assert private_dirs
    made = Server("wg0")
    made.init()
    return made


def write(folder: Path, text: str, suffix: str = "toml") -> Path:
    path = folder / f"document.{suffix}"
    path.write_text(text)
    path.chmod(0o600)
    return path


def in_form(text: str, suffix: str) -> str:
    """Write a TOML document in another form."""
    data = tomllib.loads(text)
    data["peers"]["alice"]["expires_at"] = str(data["peers"]["alice"]["expires_at"])
    if suffix == "toml":
        return text
    return json.dumps(data, indent=1) if suffix == "json" else yaml.safe_dump(data)


@pytest.mark.parametrize("suffix", ["toml", "yaml", "json"])
def test_a_document_makes_a_server_what_it_says(
    server: Server, tmp_path: Path, suffix: str
) -> None:
    path = write(tmp_path, in_form(TOML, suffix), suffix)
    planned = server.plan(path)
    assert planned.names("added") == ["alice", "site"]
    assert [change.key for change in planned.settings] == ["policy.groups", "client.endpoints"]
    assert server.peers.list() == []
    applied = server.apply(path)
    assert applied.plan == planned
    alice, site = server.peers.list()
    assert [peer.private_key is None for peer in applied.added] == [False, True]
    assert alice.public_key == applied.added[0].public_key
    assert alice.groups == {"staff"}
    assert alice.preshared_key is not None
    assert alice.expires_at == datetime(2127, 1, 1, tzinfo=timezone.utc)
    assert str(site.public_key) == KEY
    assert site.preshared_key is None
    assert site.routed_networks == (ip_network("192.168.7.0/24"),)
    assert site.endpoint == ("site.example.org", 51820)
    assert (site.persistent_keepalive, site.enabled) == (25, False)
    assert (site.client.allowed_ips, site.client.mtu) == ("split", 1300)
    settings = server.configuration().settings
    assert settings.policy.groups == ("staff", "guests")
    assert str(settings.client.endpoints["v4"]) == "203.0.113.7"


def test_a_second_time_nothing_changes(server: Server, tmp_path: Path) -> None:
    path = write(tmp_path, TOML)
    server.apply(path)
    files = {each: each.read_bytes() for each in server.paths.config_dir.iterdir()}
    database = server.paths.database
    before = server.peers.list(), files, database.read_bytes(), database.stat().st_mtime_ns
    again = server.apply(path)
    assert not again.plan.changes
    assert again.plan.unchanged == 2
    files = {each: each.read_bytes() for each in server.paths.config_dir.iterdir()}
    after = server.peers.list(), files, database.read_bytes(), database.stat().st_mtime_ns
    assert after == before


def test_what_is_not_named_stays(server: Server) -> None:
    server.apply(tomllib.loads(TOML))
    server.peers.add("other")
    before = {peer.name: peer for peer in server.peers.list()}
    plan = server.apply({"peers": {"alice": {"description": "second"}}}).plan
    (change,) = plan.peers
    assert (change.name, change.change) == ("alice", "changed")
    assert [(value.key, value.old, value.new) for value in change.values] == [
        ("description", "first", "second")
    ]
    after = {peer.name: peer for peer in server.peers.list()}
    assert after["other"] == before["other"]
    assert after["site"] == before["site"]
    assert after["alice"].groups == {"staff"}
    assert after["alice"].preshared_key == before["alice"].preshared_key
    server.apply({"peers": {"site": {"client": {"mtu": None, "dns": ["9.9.9.9"]}}}})
    client = server.peers.get("site").client
    assert (client.allowed_ips, client.mtu, client.dns) == ("split", None, (ip_address("9.9.9.9"),))


def test_everything_of_a_peer_can_be_taken_back(server: Server) -> None:
    server.apply(tomllib.loads(TOML))
    secret = server.peers.get("alice").preshared_key
    server.apply(
        {
            "peers": {
                "alice": {"preshared_key": True, "expires_at": "never", "groups": []},
                "site": {
                    "endpoint": "none",
                    "routed_networks": [],
                    "preshared_key": True,
                    "enabled": True,
                    "client": {"allowed_ips": "default", "mtu": "default"},
                },
            }
        }
    )
    alice, site = server.peers.list()
    assert alice.preshared_key == secret
    assert (alice.expires_at, alice.groups) == (None, frozenset())
    assert (site.endpoint, site.routed_networks, site.enabled) == (None, (), True)
    assert site.preshared_key is not None
    assert site.client.allowed_ips is None
    assert site.client.mtu is None


def test_prune_removes_who_is_not_named(server: Server) -> None:
    for name in ("a", "b", "c"):
        server.peers.add(name)
    document: dict[str, Any] = {"peers": {"b": {}, "d": {}}}
    assert server.plan(document).names("removed") == []
    assert server.plan(document, prune=True).names("removed") == ["a", "c"]
    server.apply(document, prune=True)
    assert [peer.name for peer in server.peers.list()] == ["b", "d"]
    with pytest.raises(InputError, match="names no peers"):
        server.apply({"settings": {}}, prune=True)


def test_names_and_addresses_that_are_freed_can_be_taken(server: Server) -> None:
    first = server.peers.add("a").addresses
    assert server.peers.add("b").addresses != first
    server.apply({"peers": {"b": {}, "c": {"addresses": list(map(str, first))}}}, prune=True)
    assert server.peers.get("c").addresses == first


def test_settings_keep_their_comments_and_what_is_not_named(server: Server) -> None:
    path = server.paths.settings
    path.write_text(f"# mine\n{path.read_text()}".replace("[client]", "[client]  # clients"))
    before = path.read_text()
    old = toml.load(path)
    server.apply({"settings": {"interface": {"mtu": 1380}, "policy": {"groups": ["staff"]}}})
    after = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    changed = [
        (one, other)
        for one, other in zip(before.splitlines(), after.splitlines(), strict=True)
        if one != other
    ]
    assert changed == [("mtu = 1420", "mtu = 1380"), ("groups = []", 'groups = ["staff"]')]
    new = toml.load(path)
    assert new.client == old.client
    assert new.interface.addresses == old.interface.addresses
    server.apply({"settings": {"interface": {"mtu": None}}})
    assert toml.load(path).interface.mtu == 1420
    assert "# mine" in path.read_text()


def test_a_server_without_settings_gets_them(private_dirs: dict[str, Path]) -> None:
    server = Server("wg0")
    document = {
        "settings": {"interface": {"addresses": ["10.77.0.1/24"]}},
        "peers": {"a": {"addresses": ["10.77.0.9"]}},
    }
    with pytest.raises(NotFoundError, match="wgbind server init wg0"):
        server.apply({"peers": {"a": {}}})
    wrong = {**document, "peers": {"a": {"addresses": ["10.78.0.9"]}}}
    with pytest.raises(InputError, match=r"10\.78\.0\.9"):
        server.apply(wrong)
    assert list(private_dirs["WGBIND_CONFIG_DIR"].glob("wg0*")) == []
    assert server.plan(document).created
    applied = server.apply(document)
    assert applied.plan.created
    assert server.peers.get("a").addresses == (ip_address("10.77.0.9"),)
    assert not server.apply(document).plan.changes


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[peers.a]\ngroup = ['x']", 2, "key peers.a.group: there is no such key; did you mean"),
        ("[peers.a]\n\nendpoint = 'x'", 3, "key peers.a.endpoint: endpoint 'x': the port is"),
        ("[peers.a]\nenabled = 1", 2, "key peers.a.enabled: 1 is not true or false"),
        ("[peers.a]\nexpires_at = '30d'", 2, "'30d' is no day and no time"),
        ("[peers.a]\npublic_key = 'x'", 2, "key peers.a.public_key"),
        ("[peers.a]\naddresses = ['10.0.0.256']", 2, "key peers.a.addresses"),
        ("[peers.b]\n[peers.a]\ngroups = ['xyz']", 2, "key peers.a: there is no group 'xyz'"),
        ("[peers.a]\n[peers.'b/c']", 2, "key peers.b/c: peer name 'b/c'"),
        ("[peers.a]\naddresses = ['203.0.113.1']", 1, "203.0.113.1"),
        ("[peers.a.client]\nmtu = 9", 2, "key peers.a.client.mtu: 9 is too small; use 1280"),
        ("[settings.policy]\npreset = ['open']", 2, "key settings.policy.preset"),
        ("[settings.polcy]\nx = 1", 1, "key settings.polcy: there is no such key; did you mean"),
        ("[settings.client]\nmtu = 'x'", 2, "key settings.client.mtu: 'x' is not a whole number"),
        ("[peer.a]", 1, "key peer: there is no such key; did you mean peers?"),
        ("peers = 3", 1, "key peers"),
        ("[peers.a", 1, "it is not TOML"),
    ],
)
def test_a_mistake_is_named_by_its_line_and_nothing_changes(
    server: Server, tmp_path: Path, text: str, line: int, words: str
) -> None:
    path = write(tmp_path, f"{text}\n")
    before = server.paths.settings.read_text()
    with pytest.raises(InputError) as error:
        server.apply(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert words in str(error.value)
    assert server.peers.list() == []
    assert server.paths.settings.read_text() == before


@pytest.mark.parametrize(
    ("suffix", "text", "line", "words"),
    [
        ("json", '{"peers": {\n"a": {},\n"b": {"enabled": 0}}}', 3, "key peers.b.enabled"),
        ("json", '{\t"peers": {\n\t"b": {"enabled": 0}}}', 2, "key peers.b.enabled"),
        ("json", '{"peers": {\n"a" {}}}', 2, "it is not JSON"),
        ("json", '{"peers": {"a": {}, "a": {}}}', None, "key 'a' is there twice"),
        ("yaml", "peers:\n  a:\n    enabled: maybe\n", 3, "key peers.a.enabled"),
        ("yaml", "peers:\n  a: {}\n  b: {}\n  a: {}\n", 4, "key 'a' is there twice"),
        ("yaml", "peers:\n  a: [\n", 3, "it is not YAML"),
        ("yaml", "peers: !!python/object:os.system {}\n", 1, "it is not YAML"),
        ("yaml", "- a\n", 1, "it is not"),
        ("ini", "", None, "its name tells no format"),
    ],
)
def test_mistakes_in_other_forms(
    server: Server, tmp_path: Path, suffix: str, text: str, line: int | None, words: str
) -> None:
    path = write(tmp_path, text, suffix)
    with pytest.raises(InputError) as error:
        server.apply(path)
    assert str(error.value).startswith(f"{path}:" if line is None else f"{path}:{line}: ")
    assert words in str(error.value)


def test_what_peers_claim_of_each_other(server: Server, tmp_path: Path) -> None:
    server.peers.add("there", routed_networks=[ip_network("192.168.0.0/16")])
    text = '[peers.a]\n[peers.b]\nrouted_networks = ["192.168.0.0/16"]\n'
    path = write(tmp_path, text)
    with pytest.raises(ConflictError, match=r"document\.toml:2: key peers\.b: .*'there'"):
        server.apply(path)
    assert [peer.name for peer in server.peers.list()] == ["there"]


def test_no_secret_shows(server: Server, tmp_path: Path) -> None:
    secret = PresharedKey.generate().reveal()
    plan = server.plan({"peers": {"a": {"preshared_key": secret}}})
    assert secret not in plan.model_dump_json()
    assert "(secret)" in plan.model_dump_json()
    assert secret not in repr(Document.of({"peers": {"a": {"preshared_key": secret}}}))
    private_key = PrivateKey.generate()
    document = {"peers": {"a": {"private_key": private_key.reveal(), "public_key": KEY}}}
    with pytest.raises(InputError) as error:
        server.apply(document)
    assert private_key.reveal() not in str(error.value)
    for wrong in ("ZZZZ", 7777, secret[:-1]):
        path = write(tmp_path, json.dumps({"peers": {"a": {"preshared_key": wrong}}}), "json")
        with pytest.raises(InputError) as error:
            server.apply(path)
        assert str(wrong) not in str(error.value)


@pytest.mark.parametrize("form", ["json", "yaml", "toml"])
def test_what_is_exported_is_what_there_is(server: Server, tmp_path: Path, form: Any) -> None:
    server.apply(tomllib.loads(TOML))
    text = exported(server.peers.list(), form, secrets=True)
    path = write(tmp_path, text, form)
    assert server.plan(path, prune=True).unchanged == 2
    assert not server.plan(path, prune=True).changes
    open_text = exported(server.peers.list(), form, secrets=False)
    secret = server.peers.get("alice").preshared_key
    assert secret is not None
    assert secret.reveal() in text
    assert secret.reveal() not in open_text
    assert not server.plan(write(tmp_path, open_text, form)).changes
    before = {peer.name: peer for peer in server.peers.list()}
    server.peers.remove_many(list(before))
    server.apply(write(tmp_path, text, form))
    for peer in server.peers.list():
        old = before[peer.name]
        assert (peer.public_key, peer.preshared_key) == (old.public_key, old.preshared_key)
        assert (peer.addresses, peer.groups, peer.client) == (
            *(old.addresses, old.groups, old.client),
        )


def test_thousands_take_seconds_and_the_second_run_changes_nothing(server: Server) -> None:
    server.apply({"settings": {"interface": {"addresses": ["10.99.0.1/16", "fd99::1/64"]}}})
    key = PrivateKey.generate
    document = {
        "peers": {
            f"p{number}": {"public_key": str(key().public_key()), "description": "one"}
            for number in range(2000)
        }
    }
    begin = time.process_time()
    assert len(server.apply(document).added) == 2000
    assert not server.apply(document).plan.changes
    assert time.process_time() - begin < 30  # it takes two; ten thousand are in `make bench`
