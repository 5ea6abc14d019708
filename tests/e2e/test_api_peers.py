"""The peers of a server: the same by each way to them, in its process, beside it and from afar."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

import pytest

from e2e.ways import WAYS, by
from harness import Api, make_server
from wgbind import (
    ConflictError,
    InputError,
    NewPeer,
    NotFoundError,
    Peer,
    PeerError,
    PrivateKey,
    Server,
    ServerHandle,
    StoreError,
    WgbindError,
    connect,
    connect_async,
)
from wgbind.settings.client import ClientOverrides


@pytest.fixture(params=WAYS)
def server(request: pytest.FixtureRequest, api: Api, stopped: Server) -> Iterator[ServerHandle]:
    with by(request.param, api, stopped) as found:
        yield found
        found.peers.remove_many([peer.name for peer in found.peers.list()])


def names(peers: Sequence[Peer]) -> list[str]:
    return [peer.name for peer in peers]


def test_every_field_of_a_new_peer_comes_back(server: ServerHandle) -> None:
    until = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)
    key = PrivateKey.generate().public_key()
    added = server.peers.add(
        "site",
        public_key=key,
        preshared_key=False,
        addresses=None,
        routed_networks=[ip_network("192.168.7.0/24")],
        groups=["staff"],
        endpoint=("site.example", 51820),
        persistent_keepalive=25,
        client=ClientOverrides(mtu=1380),
        description="the site",
        expires_at=until,
    )
    assert added == server.peers.get("site") == server.peers.get(key) == server.peers.get(str(key))
    assert (added.server, added.public_key, added.preshared_key) == (server.name, key, None)
    assert added.routed_networks == (ip_network("192.168.7.0/24"),)
    assert (added.groups, added.endpoint) == (frozenset({"staff"}), ("site.example", 51820))
    assert (added.persistent_keepalive, added.client.mtu) == (25, 1380)
    assert (added.description, added.expires_at, added.enabled) == ("the site", until, True)
    assert added.private_key is None
    assert server.peers.remove("site") == added


def test_keys_that_are_made_are_told_once(server: ServerHandle) -> None:
    added = server.peers.add("phone")
    assert added.private_key is not None
    assert added.private_key.public_key() == added.public_key
    assert server.peers.get("phone") == replace(added, private_key=None)
    configuration = server.peers.client_configuration(added)
    assert configuration.private_key == added.private_key
    assert configuration.preshared_key == added.preshared_key is not None
    assert server.peers.client_configuration(server.peers.get("phone")).private_key is None

    rotated = server.peers.rotate("phone")
    assert rotated.private_key is not None
    assert rotated.private_key.public_key() == rotated.public_key != added.public_key
    assert rotated.preshared_key != added.preshared_key
    assert rotated.addresses == added.addresses
    own = PrivateKey.generate().public_key()
    again = server.peers.rotate("phone", public_key=own)
    assert (again.public_key, again.private_key) == (own, None)


def test_configuration_is_that_of_the_peer_that_is_given(server: ServerHandle) -> None:
    """So one can be handed out that says something else this time."""
    peer = server.peers.add("phone", client=ClientOverrides(mtu=1380))
    assert server.peers.client_configuration(peer).mtu == 1380
    client = ClientOverrides(mtu=1280, allowed_ips="split", dns=(IPv4Address("192.0.2.53"),))
    found = server.peers.client_configuration(replace(peer, client=client))
    assert (found.mtu, found.dns) == (1280, client.dns)
    assert ip_network("0.0.0.0/0") not in found.allowed_ips
    assert server.peers.get("phone").client.mtu == 1380


def test_many_are_added_at_once_changed_and_removed(
    server: ServerHandle, request: pytest.FixtureRequest
) -> None:
    count = 1000 if "unix" in request.node.name else 50
    added = server.peers.add_many(NewPeer(f"p{number:04}") for number in range(count))
    assert names(added) == [f"p{number:04}" for number in range(count)]
    assert len({peer.public_key for peer in added}) == count
    assert all(peer.private_key is not None for peer in added)
    assert names(server.peers.list()) == names(added)
    configurations = server.peers.client_configurations(added)
    assert [each.private_key for each in configurations] == [peer.private_key for peer in added]
    few = names(added)[:30]
    changed = server.peers.update_many({name: {"enabled": False} for name in few})
    assert {peer.enabled for peer in changed} == {False}
    assert names(server.peers.list(enabled=False)) == few
    assert len(server.status().peers) == count
    assert names(server.peers.remove_many(few)) == few
    assert names(server.peers.list()) == names(added)[30:]


def test_peers_are_changed_field_by_field(server: ServerHandle) -> None:
    peers = server.peers
    added = peers.add("a", groups=["staff"], endpoint=("192.0.2.1", 9))
    assert peers.update("a", name="b", endpoint=None).endpoint is None
    assert peers.update(added.public_key, preshared_key=None).preshared_key is None
    assert peers.update("b", description="x", groups=frozenset({"guests"})).groups == {"guests"}
    assert peers.regroup("b", join=["staff"], leave=["guests"]).groups == {"staff"}
    assert peers.groups() == ("staff", "guests")
    assert peers.disable("b").enabled is False
    assert server.peer_report("b").state == "disabled"
    until = datetime(2100, 1, 1, tzinfo=timezone.utc)
    assert peers.enable("b", expires_at=until).expires_at == until
    assert peers.update("b", expires_at=None) == peers.get("b")
    assert names(peers.list(group="staff")) == ["b"]
    assert names(peers.list(group="guests")) == []


def test_edit_gets_what_is_and_loses_no_edit_of_another(server: ServerHandle, api: Api) -> None:
    server.peers.add("shared")

    def note(handle: ServerHandle, mark: str) -> None:
        for _ in range(5):
            handle.peers.edit(
                "shared", lambda old: replace(old, description=old.description + mark)
            )

    expected = "sssss"
    if server.name == api.server.name:
        expected = "ooooosssss"
        with (
            connect(server.name, paths=api.server.paths) as other,
            ThreadPoolExecutor() as threads,
        ):
            at_once = threads.submit(note, other, "o")
            note(server, "s")
            at_once.result(60)
    else:
        note(server, "s")
    assert "".join(sorted(server.peers.get("shared").description)) == expected

    def broken(_: Peer) -> Peer:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        server.peers.edit("shared", broken)


def test_a_transaction_is_made_at_its_end_or_not_at_all(server: ServerHandle) -> None:
    peers = server.peers
    with peers.transaction() as transaction:
        transaction.add("a", description="one")
        transaction.add("b")
        assert names(peers.list()) == []
        transaction.update("a", name="c")
        transaction.regroup("c", join=["staff"])
        transaction.rotate("c")
        transaction.disable("b")
        transaction.enable("b")
        transaction.remove("b")
        transaction.add("b")
    assert names(transaction.peers) == ["a", "b", "c", "c", "c", "b", "b", "b", "b"]
    first, *_, last = transaction.peers
    assert peers.get("c").addresses == first.addresses
    assert peers.get("c").public_key == transaction.peers[4].public_key != first.public_key
    assert transaction.peers[4].private_key is not None
    assert peers.get("b").public_key == last.public_key

    before = peers.list()
    with pytest.raises(LookupError), peers.transaction() as transaction:
        transaction.remove("c")
        raise LookupError
    with pytest.raises(ConflictError, match="'b' is taken") as refused, peers.transaction() as more:
        more.add("d")
        more.update("c", description="changed")
        more.remove("c")
        more.add("b")
        more.add("e")
    assert refused.value.item == 3
    assert peers.list() == before
    with peers.transaction() as transaction:
        pass
    assert list(transaction.peers) == []


REFUSED: list[tuple[Callable[[Any], object], type[WgbindError], str]] = [
    (lambda peers: peers.add("not a name"), PeerError, "peer name 'not a name'"),
    (lambda peers: peers.add("x", groups=["nobody"]), InputError, "no group 'nobody'"),
    (lambda peers: peers.add("there"), ConflictError, "'there' is taken"),
    (lambda peers: peers.add("x", persistent_keepalive=70000), PeerError, "70000"),
    (lambda peers: peers.add("x", description="a\nb"), PeerError, "description"),
    (lambda peers: peers.add("x", expires_at=datetime(2100, 1, 1)), PeerError, "time zone"),  # noqa: DTZ001
    (lambda peers: peers.get("nobody"), NotFoundError, "no peer 'nobody'"),
    (lambda peers: peers.get("a/b"), NotFoundError, "no peer 'a/b'"),
    (lambda peers: peers.get(".."), NotFoundError, "no peer '..'"),
    (lambda peers: peers.get(""), NotFoundError, "no peer ''"),
    (lambda peers: peers.remove("\N{SNOWMAN}"), NotFoundError, "no peer '\N{SNOWMAN}'"),
    (lambda peers: peers.remove_many(["there", "nobody"]), NotFoundError, "no peer 'nobody'"),
    (lambda peers: peers.update("there", addresses=()), PeerError, "a peer needs one"),
    (lambda peers: peers.regroup("there", leave=["nobody"]), InputError, "no group 'nobody'"),
    (lambda peers: peers.edit("nobody", lambda old: old), NotFoundError, "no peer 'nobody'"),
    (
        lambda peers: peers.edit("there", lambda old: replace(old, name="-")),
        PeerError,
        "peer name '-'",
    ),
]


def test_refusals_are_the_same_errors(server: ServerHandle) -> None:
    there = server.peers.add("there")
    for call, kind, words in REFUSED:
        with pytest.raises(kind, match=words) as refused:
            call(server.peers)
        assert type(refused.value) is kind
    assert server.peers.list() == [replace(there, private_key=None)]


@pytest.mark.parametrize("way", ["in-process", "unix", "tcp"])
def test_events_are_told(way: str, api: Api, stopped: Server) -> None:
    with by(way, api, stopped) as server, server.events() as events:
        server.peers.add("phone")
        event = next(events)
        assert (event.kind, event.name) == ("added", "phone")
        server.peers.remove("phone")
        assert next(events).kind == "removed"


def test_events_are_told_to_a_loop_from_afar(api: Api) -> None:
    async def follow() -> list[str]:
        async with connect_async(
            api.url, token_file=api.token_file, authorities=api.certificate
        ) as server:
            assert server.name == api.server.name
            async with server.events() as events:
                await server.peers.add("phone")
                await server.peers.remove("phone")
                return [(await anext(events)).kind, (await anext(events)).kind]

    assert asyncio.run(follow()) == ["added", "removed"]


def test_status_and_rules_are_told(server: ServerHandle) -> None:
    server.peers.add("phone")
    status = server.status()
    assert status.name == server.name
    assert [peer.name for peer in status.peers] == ["phone"]
    assert server.peer_report("phone").name == "phone"
    with pytest.raises(NotFoundError):
        server.peer_report("nobody")
    in_force = server.firewall_in_force()
    assert in_force is None or in_force.name == server.name
    assert server.converge() == ()


def test_without_the_key_of_stored_private_keys_all_else_goes_on(tmp_path: Path) -> None:
    server = make_server(tmp_path, ("store_private_keys = false", "store_private_keys = true"))
    with server, connect(server.name, paths=server.paths) as remote:
        key = remote.peers.add("phone").private_key
        assert key is not None
        assert remote.peers.get("phone").private_key is None
        (listed,) = remote.peers.list(private_keys=True)
        assert listed == remote.peers.get("phone", private_keys=True)
        assert listed.private_key == key
        assert remote.peers.client_configuration(remote.peers.get("phone")).private_key == key
        server.paths.stored_keys.unlink()
        peer = remote.peers.edit("phone", lambda old: replace(old, description="x"))
        assert [*remote.peers.list(), remote.peers.get("phone")] == [peer, peer]
        assert remote.peer_report("phone").description == "x"
        for ask in (
            lambda: remote.peers.get("phone", private_keys=True),
            lambda: remote.peers.list(private_keys=True),
            lambda: remote.peers.client_configuration(peer),
        ):
            with pytest.raises(StoreError, match="is missing; restore the file"):
                ask()
        remote.peers.remove("phone")
