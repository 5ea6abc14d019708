"""Documents: the same by each way to a server; what the API does not take, and what it locates."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.ways import WAYS, by
from harness import Api
from wgbind import (
    ConflictError,
    Document,
    InputError,
    PresharedKey,
    Server,
    ServerHandle,
    WgbindError,
    connect,
)

BEFORE: dict[str, Any] = {
    "settings": {
        "policy": {"groups": ["staff", "guests"], "rules": []},
        "client": {"mtu": None},
        "pool": {"reserved": []},
    },
    "peers": {"old": {}, "site": {"routed_networks": ["192.168.7.0/24"]}},
}


@pytest.fixture(params=WAYS)
def server(request: pytest.FixtureRequest, api: Api, stopped: Server) -> Iterator[ServerHandle]:
    with by(request.param, api, stopped) as found:
        found.apply(BEFORE, prune=True)
        yield found


def owner(server: ServerHandle, api: Api, stopped: Server) -> Server:
    """Who has the server's files."""
    return stopped if server.name == stopped.name else api.server


def test_a_document_does_the_same_by_each_way(
    server: ServerHandle, api: Api, stopped: Server
) -> None:
    secret = PresharedKey.generate()
    document: dict[str, Any] = {
        "settings": {
            "policy": {"groups": ["staff", "new"], "rules": ["allow new -> host : ssh"]},
            "client": {"mtu": 1300},
        },
        "peers": {
            "site": {
                "routed_networks": [],
                "preshared_key": secret.reveal(),
                "client": {"mtu": "default", "allowed_ips": "split"},
                "expires_at": "2126-12-31",
            },
            "made": {"groups": ["new"], "endpoint": "none", "notes": "one\ntwo"},
        },
    }
    plan = server.plan(document, prune=True)
    assert {change.key for change in plan.settings} == {
        *("policy.groups", "policy.rules", "client.mtu")
    }
    assert [plan.names(word) for word in ("removed", "changed", "added")] == [
        *(["old"], ["site"], ["made"])
    ]
    assert secret.reveal() not in repr(plan)
    assert [peer.name for peer in server.peers.list()] == ["old", "site"]
    applied = server.apply(document, prune=True)
    assert applied.plan == plan
    (made,) = applied.added
    assert made.private_key is not None
    assert made.private_key.public_key() == made.public_key
    assert made.groups == {"new"}
    assert made.notes == "one\ntwo"
    _, site = server.peers.list()
    assert site.preshared_key == secret
    assert (site.routed_networks, site.client.allowed_ips) == ((), "split")
    assert site.expires_at is not None
    files = owner(server, api, stopped)
    settings = files.configuration().settings
    assert (settings.policy.groups, settings.client.mtu) == (("staff", "new"), 1300)
    assert {
        path.name: path.stat().st_mode & 0o777 for path in files.paths.config_dir.iterdir()
    }.items() >= {(files.paths.settings.name, 0o600), (files.paths.private_key.name, 0o600)}
    assert not files.paths.journal.exists()
    again = server.apply(document, prune=True)
    assert not again.plan.changes
    assert again.plan.unchanged == 2
    assert not again.added


@pytest.mark.parametrize(
    ("peers", "settings", "kind", "words"),
    [
        ({"x": {}, "a/b": {}}, {}, InputError, ":4: key peers.a/b: peer name 'a/b'"),
        ({"x": {}, "y": {"groups": ["gone"]}}, {}, InputError, ":4: key peers.y: there is no"),
        ({"x": {}, "site": {"groups": ["gone"]}}, {}, InputError, ":4: key peers.site: there is"),
        (
            *({"x": {}, "y": {"routed_networks": ["192.168.7.0/24"]}}, {}),
            *(ConflictError, ":4: key peers.y: "),
        ),
        ({"x": {}}, {"policy": {"preset": ["open"]}}, InputError, "key settings.policy.preset"),
        ({"x": {}}, {"client": {"mtu": 9}}, InputError, ":7: key settings.client.mtu: 9 is too"),
    ],
)
def test_a_mistake_is_named_by_its_line_and_nothing_changes(
    server: ServerHandle,
    tmp_path: Path,
    peers: dict[str, Any],
    settings: dict[str, Any],
    kind: type[WgbindError],
    words: str,
) -> None:
    def table(name: str, values: dict[str, Any]) -> list[str]:
        entries = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in values.items()]
        return [f'"{name}": {{', *(f"{each}," for each in entries[:-1]), *entries[-1:], "}"]

    lines = ["{", *table("peers", peers)]
    if settings:
        lines += [",", *table("settings", settings)]
    path = tmp_path / "document.json"
    path.write_text("\n".join([*lines, "}"]))
    before = server.peers.list()
    with pytest.raises(kind) as error:
        server.apply(path)
    assert str(error.value).startswith(f"{path}:")
    assert words in str(error.value)
    assert type(error.value).__module__ == "wgbind.errors"
    assert server.peers.list() == before
    assert not server.plan(BEFORE).changes


@pytest.mark.parametrize("section", ["interface", "routing", "store", "device", "api", "wg_quick"])
def test_the_api_does_not_take_what_is_for_who_may_write_the_files(
    api: Api, section: str, tmp_path: Path
) -> None:
    before = api.server.paths.settings.read_bytes()
    path = tmp_path / "document.json"
    path.write_text(json.dumps({"settings": {section: {}}, "peers": {"x": {}}}, indent=0))
    assert not Document.read(path).is_live
    with connect(api.server.name, paths=api.server.paths) as remote:
        for call in (remote.plan, remote.apply):
            with pytest.raises(InputError, match=rf"\.json:3: key settings\.{section}: the API"):
                call(path)
    assert api.server.paths.settings.read_bytes() == before
    assert "x" not in [peer.name for peer in api.server.peers.list()]


def test_by_http_it_does_not_take_them_either(api: Api) -> None:
    import httpx

    transport = httpx.HTTPTransport(uds=str(api.server.paths.control_socket))
    with httpx.Client(transport=transport, base_url="http://wgbind", timeout=60) as client:
        hooks = {"settings": {"wg_quick": {"run_hooks": True}}}
        for path in ("/v1/plan", "/v1/apply"):
            refused = client.post(path, json=hooks)
            assert refused.status_code == 422
            assert re.match(r"key settings\.wg_quick: the API takes", refused.json()["message"])
        wrong = client.post("/v1/apply", json={"peers": {"x": {}, "b/c": {}}})
        assert (wrong.status_code, wrong.json()["item"]) == (422, 1)
        assert client.post("/v1/apply?prune=true", json={"settings": {}}).status_code == 422
