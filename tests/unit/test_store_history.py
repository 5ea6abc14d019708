"""What peers did: added up in the store, whoever changes what they should be meanwhile."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from ipaddress import ip_interface
from pathlib import Path

import pytest

from wgbind.keys import PrivateKey
from wgbind.store import Peer, Store
from wgbind.store.history import NONE, Entry, History

POOLS = (ip_interface("10.8.0.1/16"),)
THEN = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/wgbind.db") as opened:
        yield opened


def add(store: Store, name: str, server: str = "wg0") -> Peer:
    key = PrivateKey.generate().public_key()
    return store.add_peer(server, name, pools=POOLS, public_key=key)


def entry(store: Store, name: str, server: str = "wg0") -> Entry:
    (found,) = (
        Entry(row_id, peer.created_at)
        for row_id, peer in store.changes(server).peers.items()
        if peer.name == name
    )
    return found


def test_histories_add_up(store: Store) -> None:
    add(store, "a")
    add(store, "b")
    add(store, "a", "wg1")
    a, b = entry(store, "a"), entry(store, "b")
    version = store.version()
    store.record([(a, History(5, 7, THEN)), (b, History(0, 1))])
    store.record([(a, History(2**40, 1, THEN - timedelta(days=1)))])
    store.record([])
    assert store.version() == version
    assert store.histories("wg0") == {a: History(5 + 2**40, 8, THEN), b: History(0, 1)}
    assert list(store.histories("wg1").values()) == [NONE]
    later = THEN + timedelta(seconds=1)
    store.record([(a, History(0, 0, later))])
    assert [(peer.name, history.last_seen) for peer, history in store.known("wg0")] == [
        ("a", later),
        ("b", None),
    ]


def test_a_change_of_a_peer_keeps_its_history(store: Store) -> None:
    add(store, "a")
    a = entry(store, "a")
    store.record([(a, History(1, 2, THEN))])
    store.update_peer("wg0", "a", pools=POOLS, name="b", enabled=False)
    store.update_peer("wg0", "b", pools=POOLS, public_key=PrivateKey.generate().public_key())
    assert store.histories("wg0") == {a: History(1, 2, THEN)}


def test_the_history_of_a_removed_peer_is_nobody_elses(store: Store) -> None:
    add(store, "a")
    a = entry(store, "a")
    store.remove_peer("wg0", "a")
    store.record([(a, History(1, 2, THEN))])
    add(store, "b")
    b = entry(store, "b")
    assert b.row_id == a.row_id  # or there would be nothing to see
    store.record([(a, History(1, 2, THEN))])
    assert store.histories("wg0") == {b: NONE}
