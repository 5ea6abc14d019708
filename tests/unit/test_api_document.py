"""The published OpenAPI document, and that the API's records have all that the library has."""

import inspect
import json
from dataclasses import fields
from pathlib import Path

import pytest

from wgbind import AsyncPeers, AsyncServer, Peer, Peers, RemoteServer, Server, ServerHandle
from wgbind.api.change import NewPeer, NewPeerFields
from wgbind.api.document import openapi_document
from wgbind.api.peer_record import NewPeerRecord, PeerChangesRecord, PeerRecord
from wgbind.store.peer import PeerChanges

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())


def test_published_document_is_current() -> None:
    assert json.loads(openapi_document()) == DOCUMENT, "run `make schema`"


def test_every_answer_without_success_is_a_failure() -> None:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                if status.startswith("2"):
                    continue
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Failure"}, (path, method, status)


def test_records_have_every_field() -> None:
    beside, untold = {"has_preshared_key"}, {"layout"}
    told = {each.name for each in fields(Peer)} - untold
    assert set(PeerRecord.model_fields) - beside == told
    new = {each.name for each in fields(NewPeer)}
    assert set(NewPeerRecord.model_fields) == new
    assert {*NewPeerFields.__annotations__, "name"} == new
    assert set(PeerChangesRecord.__annotations__) == set(PeerChanges.__annotations__)


def public(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(value)
        for name, value in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize("kind", [Server, RemoteServer, AsyncServer])
def test_every_handle_has_the_same_methods(kind: type) -> None:
    found = public(kind)
    for name, signature in public(ServerHandle).items():
        assert found[name].parameters == signature.parameters, name


def test_peers_have_the_same_methods_for_asyncio() -> None:
    found = public(AsyncPeers)
    for name, signature in public(Peers).items():
        if name != "regrouped":  # for `edit`, where nobody can wait
            assert found[name].parameters == signature.parameters, name
