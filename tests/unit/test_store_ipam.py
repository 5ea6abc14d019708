"""Addresses of peers: the lowest free one, until there is none."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.engine import Engine

from wgbind.errors import ConflictError, PeerError
from wgbind.keys import PrivateKey
from wgbind.settings.pool import PoolSettings
from wgbind.store import Store
from wgbind.store.peer import PeerFields

KEYS = [PrivateKey.generate().public_key() for _ in range(300)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path_factory.mktemp('store')}/wgbind.db") as store:
        yield store


@pytest.fixture
def store(shared: Store) -> Store:
    empty(shared)
    return shared


def empty(store: Store) -> None:
    for peer in store.peers("wg0"):
        store.remove_peer("wg0", peer.name)


def add(store: Store, number: int, pool: str, address: str | None = None) -> str:
    """Add the peer with this number; return its address."""
    peer = store.add_peer(
        "wg0",
        f"peer-{number}",
        pools=[ip_interface(pool)],
        public_key=KEYS[number],
        addresses=None if address is None else [ip_address(address)],
    )
    return str(peer.addresses[0])


def fill(store: Store, pool: str, first: int = 0) -> list[str]:
    """Add peers, numbered from `first` on, until no address is left; return the addresses."""
    found: list[str] = []
    with pytest.raises(ConflictError) as error:
        found.extend(add(store, number, pool) for number in range(first, len(KEYS)))
    assert str(error.value) == (
        f"no address is free in {ip_interface(pool).network}; "
        "remove a peer, or use a larger network in interface.addresses"
    )
    return found


@pytest.mark.parametrize(
    ("pool", "addresses"),
    [
        ("10.8.0.1/30", ["10.8.0.2"]),
        ("10.8.0.2/30", ["10.8.0.1"]),
        ("10.8.0.3/29", ["10.8.0.1", "10.8.0.2", "10.8.0.4", "10.8.0.5", "10.8.0.6"]),
        ("10.8.0.0/31", ["10.8.0.1"]),
        ("10.8.0.1/31", ["10.8.0.0"]),
        ("10.8.0.1/32", []),
        ("fd00::1/128", []),
        ("fd00::1/127", ["fd00::"]),
        ("fd00::1/126", ["fd00::2", "fd00::3"]),
        ("255.255.255.254/30", ["255.255.255.253"]),
        (
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/127",
            ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"],
        ),
    ],
)
def test_a_pool_is_used_up(store: Store, pool: str, addresses: list[str]) -> None:
    assert fill(store, pool) == addresses


def test_gaps_are_used_again(store: Store) -> None:
    pool = "10.8.0.1/28"
    assert fill(store, pool) == [f"10.8.0.{host}" for host in range(2, 15)]
    for number in (0, 6, 12, 5):
        store.remove_peer("wg0", f"peer-{number}")
    assert fill(store, pool, first=20) == ["10.8.0.2", "10.8.0.7", "10.8.0.8", "10.8.0.14"]


LIMITS = [
    # ranges, reservations, and what is given out of 10.8.0.6/28 in order
    ("10.8.0.4-10.8.0.7", "", "4 5 7"),
    ("10.8.0.9 10.8.0.4-10.8.0.5", "", "4 5 9"),
    ("10.8.0.2-10.8.0.5 10.8.0.4-10.8.0.8", "10.8.0.3", "2 4 5 7 8"),
    ("10.8.0.8/30", "10.8.0.8/31 10.8.0.9-10.8.0.10", "11"),
    ("", "10.8.0.0-10.8.0.5 10.8.0.8-10.8.0.15", "7"),
    ("", "10.8.0.0/28", ""),
    ("10.8.0.0/28", "10.8.0.2-10.8.0.14", "1"),
    ("10.8.0.6", "", ""),
    ("fd00::9", "fd00::/64", "1 2 3 4 5 7 8 9 10 11 12 13 14"),
]


@pytest.mark.parametrize(("ranges", "reserved", "given"), LIMITS)
def test_ranges_and_reservations(store: Store, ranges: str, reserved: str, given: str) -> None:
    pool = ip_interface("10.8.0.6/28")
    limits = PoolSettings.model_validate({"ranges": ranges.split(), "reserved": reserved.split()})
    expected = [f"10.8.0.{host}" for host in given.split()]
    for number, address in enumerate(expected):
        assert store.free("wg0", pool, limits) == len(expected) - number
        fields = PeerFields(public_key=KEYS[number])
        (peer,) = store.add_peers("wg0", [(f"peer-{number}", fields)], pools=[pool], limits=limits)
        assert [str(each) for each in peer.addresses] == [address]
    assert store.free("wg0", pool, limits) == 0
    limited = "10.8" in ranges + reserved
    with pytest.raises(ConflictError) as error:
        store.add_peers("wg0", [("last", {"public_key": KEYS[-1]})], pools=[pool], limits=limits)
    assert ("as pool.ranges and pool.reserved limit it" in str(error.value)) == limited
    # By hand, what is reserved can be given.
    if "10.8.0.3" not in expected:
        assert add(store, 20, str(pool), "10.8.0.3") == "10.8.0.3"


def test_a_large_network_is_not_searched_one_by_one(store: Store) -> None:
    pool = "fd00::1/64"
    assert add(store, 0, pool) == "fd00::2"
    for number, address in enumerate(["fd00::3", "fd00::5", "fd00::ffff:ffff:ffff:ffff"], 1):
        assert add(store, number, pool, address) == address
    assert add(store, 4, pool) == "fd00::4"
    assert add(store, 5, pool) == "fd00::6"


def test_the_work_grows_with_the_logarithm_of_the_peers(store: Store) -> None:
    """Count the statements: they take the time, and no clock makes the count flaky."""
    counts: list[int] = []

    def count(*_: object) -> None:
        counts[-1] += 1

    event.listen(Engine, "before_cursor_execute", count)
    try:
        for number in range(200):
            counts.append(0)
            add(store, number, "10.8.0.1/16")
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert max(counts) <= counts[0] + 8  # 200 < 2 ** 8


def test_a_routed_network_in_a_changed_pool_is_left_out(store: Store) -> None:
    store.add_peer(
        "wg0",
        "site",
        pools=[ip_interface("172.16.0.1/24")],
        public_key=KEYS[-1],
        routed_networks=[ip_network("10.8.0.4/30"), ip_network("10.8.0.2/32")],
    )
    assert fill(store, "10.8.0.1/28") == [f"10.8.0.{host}" for host in (3, *range(8, 15))]


POOL = ip_interface("10.8.0.5/28")
HOSTS = [str(host) for host in POOL.network.hosts() if host != POOL.ip]
STEPS = st.lists(
    st.just(("add", 0))
    | st.tuples(st.just("take"), st.integers(0, len(HOSTS) - 1))
    | st.tuples(st.just("remove"), st.integers(0, 20)),
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(STEPS)
def test_a_slow_and_obvious_model_agrees(store: Store, steps: list[tuple[str, int]]) -> None:
    empty(store)
    taken: dict[str, str] = {}
    for number, (step, choice) in enumerate(steps):
        if step == "remove":
            for name in sorted(taken)[choice : choice + 1]:
                store.remove_peer("wg0", name)
                del taken[name]
            continue
        free = [host for host in HOSTS if host not in taken.values()]
        wanted = HOSTS[choice] if step == "take" else None
        expected = wanted or next(iter(free), None)
        if expected in free:
            assert add(store, number, str(POOL), wanted) == expected
            taken[f"peer-{number}"] = expected
        else:
            with pytest.raises(ConflictError):
                add(store, number, str(POOL), wanted)
    assert {peer.name: str(peer.addresses[0]) for peer in store.peers("wg0")} == taken


def route(store: Store, number: int, *networks: str) -> None:
    """Add the peer with this number, with these networks behind it."""
    store.add_peer(
        "wg0",
        f"peer-{number}",
        pools=[ip_interface("10.8.0.1/24"), ip_interface("fd08::1/64")],
        public_key=KEYS[number],
        routed_networks=[ip_network(network) for network in networks],
    )


def test_a_server_with_several_addresses_in_a_network(store: Store) -> None:
    """Peers get one of each network, and none of the server's."""
    server = [ip_interface(text) for text in ("10.8.0.2/24", "10.8.0.3/32", "fd08::1/64")]
    server.append(ip_interface("10.8.0.1/24"))
    fields: PeerFields = {"public_key": KEYS[1]}
    peer = store.add_peer("wg0", "peer-1", pools=server, **fields)
    assert list(map(str, peer.addresses)) == ["10.8.0.4", "fd08::2"]
    assert store.free("wg0", server[0], own=[each.ip for each in server]) == 253 - 2 - 1
    for taken in ("10.8.0.1", "10.8.0.2", "10.8.0.3"):
        fields = {"public_key": KEYS[2], "addresses": [ip_address(taken)]}
        with pytest.raises(PeerError, match="is the server's own"):
            store.add_peer("wg0", "peer-2", pools=server, **fields)


def test_one_peer_has_what_nobody_else_has(store: Store) -> None:
    route(store, 1, "192.0.2.0/24")
    route(store, 2, "0.0.0.0/0", "::/0", "198.51.100.0/24")
    route(store, 3, "203.0.113.0/24", "fd90::/48")
    assert add(store, 4, "10.8.0.1/24") == "10.8.0.5"
    for taken, owner in (("0.0.0.0/0", 2), ("::/0", 2), ("192.0.2.0/24", 1)):
        with pytest.raises(ConflictError, match=rf"peer 'peer-{owner}' of wg0; choose another"):
            route(store, 5, taken)
    store.remove_peer("wg0", "peer-2")
    route(store, 5, "::/0")


@pytest.mark.parametrize(("first", "second"), [("::/0", "::/8"), ("::/8", "::/0")])
def test_a_default_route_and_a_network_that_begins_like_it(
    store: Store, first: str, second: str
) -> None:
    route(store, 1, first)
    with pytest.raises(ConflictError, match=f"{first} belongs to peer 'peer-1'"):
        route(store, 2, first)
    route(store, 2, second)
    with pytest.raises(PeerError, match="given twice"):
        route(store, 3, "0.0.0.0/0", "0.0.0.0/0")
