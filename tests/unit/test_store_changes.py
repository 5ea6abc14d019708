"""What changed since a version: enough to know all, and no more than that."""

import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_interface, ip_network
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wgbind.keys import PrivateKey
from wgbind.server import roster as roster_module
from wgbind.server.roster import Roster
from wgbind.store import Peer, Store, rows

POOLS = (ip_interface("10.8.0.1/16"), ip_interface("fd00::1/64"))
KEYS = [PrivateKey.generate().public_key() for _ in range(8)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path_factory.mktemp('store')}/wgbind.db") as store:
        yield store


@pytest.fixture
def store(shared: Store) -> Store:
    for server in ("wg0", "wg1"):
        shared.remove_peers(server, [peer.name for peer in shared.peers(server)])
    return shared


def add(store: Store, number: int, server: str = "wg0") -> Peer:
    return store.add_peer(server, f"p{number}", pools=POOLS, public_key=KEYS[number])


def test_what_changed_is_told_once(store: Store) -> None:
    version = store.changes("wg0").version
    one, other = add(store, 0), add(store, 1)
    changes = store.changes("wg0", version)
    assert not changes.whole
    assert sorted(changes.peers.values(), key=lambda peer: peer.name) == [one, other]
    assert list(changes.removed) == []
    nothing = store.changes("wg0", changes.version)
    assert (nothing.version, nothing.whole, nothing.peers, nothing.removed) == (
        changes.version,
        False,
        {},
        (),
    )
    changed = store.update_peer("wg0", "p1", pools=POOLS, routed_networks=(ip_network("::/0"),))
    store.remove_peer("wg0", "p0")
    add(store, 2, "wg1")
    last = store.changes("wg0", changes.version)
    ids = {peer.name: row_id for row_id, peer in changes.peers.items()}
    assert last.peers == {ids["p1"]: changed}
    assert list(last.removed) == [ids["p0"]]


@pytest.mark.parametrize("since", [None, -1000, 10**9])
def test_a_reader_that_knows_nothing_is_told_all(store: Store, since: int | None) -> None:
    peer = add(store, 0)
    changes = store.changes("wg0", since)
    assert changes.whole
    assert list(changes.peers.values()) == [peer]


def test_a_reader_that_is_far_behind_is_told_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "KEPT_REVISIONS", 3)
    roster = Roster(store, "wg0")
    gone, kept = add(store, 0), add(store, 1)
    roster.refresh()
    store.remove_peer("wg0", gone.name)
    for number in range(2, 6):
        add(store, number)
        store.remove_peer("wg0", f"p{number}")
    assert roster.refresh() is None
    assert roster.peers() == [kept]
    assert roster.name_of(gone.public_key) == gone.name


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "rename", "rekey", "move", "refresh"]), st.integers(0, 7)
    ),
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(STEPS)
def test_a_roster_knows_what_the_store_has(store: Store, steps: list[tuple[str, int]]) -> None:
    store.remove_peers("wg0", [peer.name for peer in store.peers("wg0")])
    roster = Roster(store, "wg0")
    roster.refresh()
    known: dict[str, Peer] = {}
    for step, number in (*steps, ("refresh", 0)):
        peers = store.peers("wg0")
        free = [key for key in KEYS if key not in {peer.public_key for peer in peers}]
        some = peers[number % len(peers)] if peers else None
        if step == "refresh":
            before = {peer.public_key: peer for peer in known.values()}
            touched = roster.refresh()
            now = {peer.public_key: peer for peer in peers}
            differ = {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
            assert touched is not None
            assert differ <= touched
            assert roster.peers() == peers
            for key, peer in now.items():
                assert roster.name_of(key) == peer.name
                entry = roster.entry_of(key)
                assert entry is not None
                assert entry.created_at == peer.created_at
            for key in before.keys() - now.keys():
                assert roster.name_of(key) is not None
            known = {peer.name: peer for peer in peers}
        elif step == "add" and free:
            name = next(f"p{n}" for n in range(20) if f"p{n}" not in {p.name for p in peers})
            store.add_peer("wg0", name, pools=POOLS, public_key=free[0])
        elif some is None:
            continue
        elif step == "remove":
            store.remove_peer("wg0", some.name)
        elif step == "rename" and f"q{number}" not in {peer.name for peer in peers}:
            store.update_peer("wg0", some.name, pools=POOLS, name=f"q{number}")
        elif step == "rekey" and free:
            store.update_peer("wg0", some.name, pools=POOLS, public_key=free[-1])
        elif step == "move":
            store.update_peer("wg0", some.name, pools=POOLS, enabled=not some.enabled)
        assert sorted(roster.read().values(), key=lambda p: p.name) == store.peers("wg0")


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.update_peer("wg0", "p0", pools=POOLS, description="other"),
        lambda store: store.update_peer("wg0", "p0", pools=POOLS, public_key=KEYS[1]),
        lambda store: store.remove_peer("wg0", "p0"),
    ],
    ids=["changed", "rotated", "removed"],
)
def test_a_key_has_its_name_at_every_step_of_a_refresh(
    store: Store, change: Callable[[Store], object]
) -> None:
    add(store, 0)
    roster = Roster(store, "wg0")
    roster.refresh()
    entry = roster.entry_of(KEYS[0])
    change(store)
    steps = 0

    def look(frame: FrameType, _event: str, _argument: object) -> Any:
        nonlocal steps
        if frame.f_code.co_filename == roster_module.__file__:
            steps += 1
            assert (roster.name_of(KEYS[0]), roster.entry_of(KEYS[0])) == ("p0", entry)
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        roster.refresh()
    finally:
        sys.settrace(before)
    assert steps > 10
