"""Many changes in one transaction leave what the same changes leave one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from ipaddress import IPv4Address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wgbind.errors import WgbindError
from wgbind.keys import PrivateKey
from wgbind.store import Peer, Store, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wgbind.store.peer import PeerFields
    from wgbind.store.transaction import Transaction

    Change = Callable[[Transaction], object]

POOLS = (ip_interface("10.8.0.1/28"),)
MOMENT = datetime(2026, 1, 1, tzinfo=timezone.utc)
PRIVATE_KEYS = [PrivateKey.generate() for _ in range(4)]
KEYS = [each.public_key() for each in PRIVATE_KEYS]
NETWORKS = [ip_network(text) for text in ("0.0.0.0/0", "192.168.0.0/23", "192.168.1.0/24")]

names = st.sampled_from(["anna", "bert", "carl"])
keys = st.sampled_from(KEYS)
addresses = st.integers(2, 6).map(lambda number: (IPv4Address("10.8.0.0") + number,))
networks = st.lists(st.sampled_from(NETWORKS), max_size=1).map(tuple)


@st.composite
def additions(draw: st.DrawFn) -> Change:
    name, key = draw(names), draw(keys)
    at, behind = draw(st.none() | addresses), draw(networks)
    private = draw(st.booleans())

    def add(store: Transaction) -> object:
        fields: PeerFields = {"public_key": key, "addresses": at, "routed_networks": behind}
        if private:
            fields["private_key"] = PRIVATE_KEYS[KEYS.index(key)]
        return store.add(name, fields)

    return add


@st.composite
def edits(draw: st.DrawFn) -> Change:
    which = draw(names | keys)
    what: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "name": names,
                "description": st.sampled_from(["", "one", "other"]),
                "addresses": addresses,
                "routed_networks": networks,
                "groups": st.sampled_from([frozenset(), frozenset({"staff"})]),
            },
        )
    )
    key = draw(st.none() | keys)
    private = draw(st.booleans())

    def edit(old: Peer) -> Peer:
        own = key or old.public_key
        new = replace(old, public_key=own, **what)
        return replace(new, private_key=PRIVATE_KEYS[KEYS.index(own)]) if private else new

    return lambda store: store.edit(which, edit)


removals = (names | keys).map(lambda which: lambda store: store.remove(which))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("store")
    with Store(f"sqlite:///{folder}/wgbind.db", folder / "stored.key") as opened:
        yield opened


def apply(store: Store, server: str, changes: Sequence[Change]) -> str:
    """Make changes in one transaction; return why they are refused, if they are."""
    expected = ["anna", "bert", *map(str, KEYS)]
    try:
        with store.transaction(server, pools=POOLS, expected=expected) as made:
            for change in changes:
                change(made)
    except WgbindError as error:
        return str(error).replace(server, "the server")
    return ""


def outcome(store: Store, server: str) -> list[Peer]:
    return [replace(peer, server="", created_at=MOMENT) for peer in store.peers(server)]


@pytest.mark.parametrize("few", [1, 3, 100])
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(changes=st.lists(additions() | edits() | removals, min_size=2, max_size=12))
def test_together_is_as_one_by_one(
    store: Store, monkeypatch: pytest.MonkeyPatch, few: int, changes: list[Change]
) -> None:
    monkeypatch.setattr(transaction, "_FEW", few)
    for server in ("wg0", "wg1"):
        store.remove_peers(server, [peer.name for peer in store.peers(server)])
    refusals = {number: apply(store, "wg0", [change]) for number, change in enumerate(changes)}
    done = [change for number, change in enumerate(changes) if not refusals[number]]
    refused = next((number for number, why in refusals.items() if why), None)
    if refused is not None:
        assert apply(store, "wg1", changes[: refused + 1]) == refusals[refused]
        assert store.peers("wg1") == []
    assert apply(store, "wg1", done) == ""
    assert outcome(store, "wg1") == outcome(store, "wg0")
