"""Peers in the store: what goes in comes out, and what may not go in does not."""

import sqlite3
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from wgbind.errors import ConflictError, InputError, NotFoundError, PeerError
from wgbind.keys import PresharedKey, PrivateKey, PublicKey
from wgbind.settings.model import ServerSettings
from wgbind.settings.paths import Paths
from wgbind.store import Peer, Store

POOLS = (ip_interface("10.8.0.1/24"), ip_interface("fd00::1/64"))
LOW_ORDER = PublicKey("00" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "wgbind.db"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "stored.key"


@pytest.fixture
def store(path: Path, key_file: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{path}", key_file) as opened:
        yield opened


def new_key() -> PublicKey:
    return PrivateKey.generate().public_key()


def add(store: Store, name: str, server: str = "wg0", **fields: Any) -> Peer:
    fields.setdefault("public_key", new_key())
    return store.add_peer(server, name, pools=POOLS, **fields)


def test_a_peer_with_nothing_but_a_key(store: Store) -> None:
    key = new_key()
    peer = add(store, "phone", public_key=key)
    assert peer == Peer(
        server="wg0",
        name="phone",
        public_key=key,
        preshared_key=None,
        addresses=(ip_address("10.8.0.2"), ip_address("fd00::2")),
        routed_networks=(),
        groups=frozenset(),
        endpoint=None,
        persistent_keepalive=0,
        private_key=None,
        created_at=peer.created_at,
    )
    assert abs(datetime.now(timezone.utc) - peer.created_at) < timedelta(minutes=1)
    assert peer.created_at.tzinfo is timezone.utc
    assert peer.allowed_ips == (ip_network("10.8.0.2/32"), ip_network("fd00::2/128"))


def test_a_peer_with_everything_survives_a_new_process(
    store: Store, path: Path, key_file: Path
) -> None:
    private_key, preshared_key = PrivateKey.generate(), PresharedKey.generate()
    peer = add(
        store,
        "site",
        public_key=private_key.public_key(),
        private_key=private_key,
        preshared_key=preshared_key,
        addresses=[ip_address("fd00::7"), ip_address("10.8.0.7")],
        routed_networks=[ip_network("192.168.7.0/24"), ip_network("fd77::/48")],
        groups=["staff", "admins", "staff"],
        endpoint=("site.example", 51820),
        persistent_keepalive=65535,
        notes="Rack 3.\r\n\tAsk for the key.\n",
    )
    assert peer.notes == "Rack 3.\n\tAsk for the key.\n"
    assert peer.private_key == private_key
    assert peer.preshared_key == preshared_key
    assert peer.groups == {"staff", "admins"}
    assert peer.endpoint == ("site.example", 51820)
    assert peer.persistent_keepalive == 65535
    assert list(map(str, peer.allowed_ips)) == [
        "10.8.0.7/32",
        "fd00::7/128",
        "192.168.7.0/24",
        "fd77::/48",
    ]
    with Store(f"sqlite:///{path}", key_file) as again:
        assert again.peers("wg0") == [peer]
        assert again.sites("wg0") == [replace(peer, private_key=None)]


def test_a_peer_is_found_by_name_and_by_key(store: Store) -> None:
    peer = add(store, "phone")
    add(store, "phone", server="wg1")
    hexadecimal = "".join(f"{byte:02x}" for byte in b64decode(str(peer.public_key)))
    for which in ("phone", peer.public_key, str(peer.public_key), hexadecimal):
        assert store.peer("wg0", which) == peer
    for which in ("Phone", new_key(), str(new_key()), "", "no such\npeer"):
        with pytest.raises(NotFoundError, match="on wg0; `wgbind peer list` shows them") as error:
            store.peer("wg0", which)
        assert "\n" not in str(error.value)


def test_servers_do_not_see_each_other(store: Store) -> None:
    key = new_key()
    one, other = (
        add(store, "phone", "wg0", public_key=key),
        add(store, "phone", "wg1", public_key=key),
    )
    assert store.peers("wg0") == [one]
    assert store.peers("wg1") == [other]
    assert one.addresses == other.addresses
    store.remove_peer("wg0", "phone")
    assert store.peers("wg0") == []
    assert store.peers("wg1") == [other]


def test_peers_are_listed_by_name(store: Store) -> None:
    for name in ("b", "a", "C", "a1"):
        add(store, name)
    assert [peer.name for peer in store.peers("wg0")] == ["C", "a", "a1", "b"]


def test_the_version_tells_of_every_change_by_anybody(store: Store, path: Path) -> None:
    with Store(f"sqlite:///{path}") as other:
        seen = [store.version()]
        add(other, "phone")
        seen.append(store.version())
        other.update_peer("wg0", "phone", pools=POOLS, persistent_keepalive=25)
        seen.append(store.version())
        other.remove_peer("wg0", "phone")
        seen.append(store.version())
        assert seen == sorted(set(seen))
        for refused in ("no such peer", "phone"):
            with pytest.raises(NotFoundError):
                other.remove_peer("wg0", refused)
        assert store.version() == other.version() == seen[-1]


NAMES = ["a", "A9", "x" * 63, "first.last@example.org", "site-1_a+b"]
BAD_NAMES = ["", "x" * 64, "-a", ".a", "a b", "a/b", "a=b", "a\n", "é", "a;b", "a,b", "a\0"]


@pytest.mark.parametrize("name", NAMES)
def test_names(store: Store, name: str) -> None:
    assert add(store, name).name == name


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(store: Store, name: str) -> None:
    with pytest.raises(PeerError, match=r"^peer name .*: use 1 to 63 of the characters") as error:
        add(store, name)
    assert "\n" not in str(error.value)
    add(store, "phone")
    with pytest.raises(PeerError):
        store.update_peer("wg0", "phone", pools=POOLS, name=name)
    assert [peer.name for peer in store.peers("wg0")] == ["phone"]


def address(text: str) -> dict[str, Any]:
    return {"addresses": [ip_address(text)]}


def network(text: str) -> dict[str, Any]:
    return {"routed_networks": [ip_network(text)]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"public_key": LOW_ORDER}, f"public key {LOW_ORDER} is a point of low order"),
        (
            {"private_key": PrivateKey.generate()},
            "private key: it is not the one of the public key",
        ),
        ({"groups": ["Staff"]}, "group 'Staff': use 1 to 31 of the characters a-z 0-9 _ -"),
        ({"groups": ["staff", "any"]}, "group 'any': rules use this word themselves"),
        ({"endpoint": ("host", 0)}, "endpoint 'host:0': the port is 1 to 65535"),
        ({"endpoint": ("a b", 1)}, "endpoint 'a b' is not a host name"),
        ({"endpoint": ("a\nb", 1)}, r"endpoint 'a\nb' is not a host name"),
        ({"persistent_keepalive": -1}, "persistent keepalive -1: use 0 (off) to 65535 seconds"),
        ({"persistent_keepalive": 65536}, "persistent keepalive 65536: use 0 (off) to 65535"),
        ({"notes": "x" * 10_001}, "notes 'xxxxxxxxxxxxxxxxxxxx'...: use at most 10000 printable"),
        ({"notes": "\x1b[2J"}, r"notes '\x1b[2J'...: use at most 10000 printable"),
        ({"addresses": []}, "addresses: a peer needs one"),
        (
            address("10.9.0.2"),
            "address 10.9.0.2 is not in the server's networks; use one in 10.8.0.0/24, fd00::/64",
        ),
        (address("10.8.0.1"), "address 10.8.0.1 is the server's own; use another in 10.8.0.0/24"),
        (address("10.8.0.0"), "address 10.8.0.0 is reserved; use another in 10.8.0.0/24"),
        (address("10.8.0.255"), "address 10.8.0.255 is reserved; use another in 10.8.0.0/24"),
        (address("fd00::"), "address fd00:: is reserved; use another in fd00::/64"),
        ({"addresses": [ip_address("10.8.0.2")] * 2}, "10.8.0.2/32 is given twice; leave one of"),
        (network("127.0.0.0/8"), "routed network 127.0.0.0/8 is loopback"),
        (network("224.0.0.0/4"), "routed network 224.0.0.0/4 is multicast"),
        (network("fe80::/64"), "routed network fe80::/64 is link-local"),
        (
            {"routed_networks": [ip_network("192.168.7.0/24")] * 2},
            "192.168.7.0/24 is given twice; leave one of them out",
        ),
    ],
)
def test_a_peer_that_is_wrong_by_itself(store: Store, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(PeerError) as error:
        add(store, "phone", **fields)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert store.peers("wg0") == []


def test_what_is_taken_names_who_has_it(store: Store) -> None:
    taken = add(
        store,
        "phone",
        addresses=[ip_address("10.8.0.9")],
        routed_networks=[ip_network("192.168.7.0/24"), ip_network("fd77::/48")],
    )
    before = store.version()
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"name": "phone"},
            f"peer name 'phone' is taken on wg0, by the peer {taken.public_key}; choose another",
        ),
        (
            {"public_key": taken.public_key},
            f"public key {taken.public_key} belongs to peer 'phone' of wg0; "
            "each peer needs a key of its own",
        ),
        (
            address("10.8.0.9"),
            "10.8.0.9 belongs to peer 'phone' of wg0; choose another",
        ),
        (
            network("192.168.7.0/24"),
            "192.168.7.0/24 belongs to peer 'phone' of wg0; choose another",
        ),
        (
            network("10.0.0.0/8"),
            "routed network 10.0.0.0/8 overlaps the server's own 10.8.0.0/24; "
            "name only what is beyond the peer",
        ),
    ]
    for fields, message in cases:
        with pytest.raises(ConflictError) as error:
            add(store, **{"name": "laptop", **fields})
        assert str(error.value) == message
    assert store.peers("wg0") == [taken]
    assert store.version() == before


def test_networks_may_contain_each_other_and_begin_alike(store: Store) -> None:
    """The longest prefix says whose an address is."""
    wide = ["192.168.0.0/16", "192.168.0.0/24", "192.168.0.0/32", "fd77::/48"]
    one = add(store, "one", routed_networks=[ip_network(text) for text in wide])
    narrow = ["192.168.0.0/17", "192.168.0.128/25", "192.168.0.1/32", "fd77:0:0:1::/64"]
    other = add(store, "other", routed_networks=[ip_network(text) for text in narrow])
    assert store.peers("wg0") == [one, other]
    assert [str(network) for network in store.peer("wg0", "one").routed_networks] == wide
    changed = store.update_peer(
        "wg0", "other", pools=POOLS, routed_networks=(ip_network("192.168.0.0/18"),)
    )
    assert store.peers("wg0") == [one, changed]


def test_each_field_can_be_changed(store: Store) -> None:
    peer = add(store, "phone")
    add(store, "other")
    private_key = PrivateKey.generate()
    changes: list[dict[str, Any]] = [
        {"name": "mobile"},
        {"public_key": private_key.public_key(), "private_key": private_key},
        {"preshared_key": PresharedKey.generate()},
        {"preshared_key": None},
        {"addresses": (ip_address("10.8.0.77"),)},
        {"addresses": (ip_address("10.8.0.78"), ip_address("fd00::78"))},
        {"routed_networks": (ip_network("192.168.7.0/24"),)},
        {"routed_networks": (ip_network("192.168.0.0/16"),)},
        {"routed_networks": ()},
        {"groups": frozenset({"staff", "guests"})},
        {"groups": frozenset({"staff"})},
        {"groups": frozenset()},
        {"endpoint": ("2001:db8::1", 9)},
        {"endpoint": None},
        {"persistent_keepalive": 25},
        {"description": "the café's till"},
        {"notes": "one\nand another"},
        {"notes": ""},
        {"enabled": False},
        {"expires_at": datetime(2126, 1, 1, tzinfo=timezone.utc)},
        {"expires_at": None, "enabled": True},
        {},
    ]
    for change in changes:
        expected = replace(peer, **change)
        changed = store.update_peer("wg0", peer.name, pools=POOLS, **change)
        # Private keys that are stored are not looked at for a change.
        assert changed == replace(expected, private_key=change.get("private_key"))
        peer = store.peer("wg0", changed.public_key)
        assert peer == expected
    assert len(store.peers("wg0")) == 2


def test_groups_are_joined_and_left_whatever_others_do(store: Store) -> None:
    peer = add(store, "phone", groups=["staff"])
    add(store, "other", groups=["staff"])
    before = store.version()
    regrouped = store.edit_peer(
        "wg0", "phone", lambda old: replace(old, groups=old.groups | {"admins"}), pools=POOLS
    )
    assert regrouped == replace(peer, groups=frozenset({"admins", "staff"}))
    store.edit_peer(
        "wg0",
        peer.public_key,
        lambda old: replace(old, groups=(old.groups | {"guests"}) - {"staff", "nobody"}),
        pools=POOLS,
    )
    assert {each.name: each.groups for each in store.peers("wg0")} == {
        "phone": {"admins", "guests"},
        "other": {"staff"},
    }
    assert store.version() == before + 2
    with pytest.raises(NotFoundError):
        store.edit_peer("wg0", "nobody", lambda old: old, pools=POOLS)


def test_a_change_keeps_the_rules_or_changes_nothing(store: Store) -> None:
    add(store, "other", **network("192.168.7.0/24"))
    peer = add(store, "phone", **network("192.168.8.0/24"))
    other_key = store.peer("wg0", "other").public_key
    cases: list[tuple[Any, type[Exception]]] = [
        ({"name": "other"}, ConflictError),
        ({"public_key": other_key}, ConflictError),
        ({"public_key": LOW_ORDER}, PeerError),
        ({"addresses": (ip_address("10.8.0.2"),)}, ConflictError),
        ({"addresses": ()}, PeerError),
        ({"routed_networks": (ip_network("192.168.7.0/24"),)}, ConflictError),
        (
            {"routed_networks": (ip_network("192.168.9.0/24"), ip_network("10.8.0.0/16"))},
            ConflictError,
        ),
        ({"persistent_keepalive": -1, "name": "new"}, PeerError),
        ({"colour": "red"}, TypeError),
    ]
    for change, error in cases:
        with pytest.raises(error):
            store.update_peer("wg0", "phone", pools=POOLS, **change)
        assert store.peer("wg0", "phone") == peer
    with pytest.raises(NotFoundError):
        store.update_peer("wg0", "nobody", pools=POOLS, name="x")


def test_a_new_public_key_forgets_the_old_private_key(store: Store) -> None:
    private_key = PrivateKey.generate()
    add(store, "phone", public_key=private_key.public_key(), private_key=private_key)
    store.update_peer("wg0", "phone", pools=POOLS, name="a")
    assert store.peer("wg0", "a").private_key == private_key
    store.update_peer("wg0", "a", pools=POOLS, public_key=new_key())
    assert store.peer("wg0", "a").private_key is None


def test_old_addresses_stay_when_the_networks_changed(store: Store) -> None:
    peer = add(store, "phone")
    pools = (ip_interface("10.9.0.1/24"),)
    changed = store.update_peer("wg0", "phone", pools=pools, name="mobile")
    assert changed.addresses == peer.addresses
    with pytest.raises(PeerError, match="is not in the server's networks"):
        store.update_peer("wg0", "mobile", pools=pools, addresses=(ip_address("10.8.0.3"),))


def test_a_removed_peer_frees_what_it_had(store: Store) -> None:
    key = new_key()
    peer = add(store, "phone", public_key=key, **network("192.168.7.0/24"))
    assert store.remove_peer("wg0", key) == peer
    assert store.peers("wg0") == []
    again = add(store, "phone", public_key=key, **network("192.168.0.0/16"))
    assert again.addresses == peer.addresses


def test_a_bad_interface_name(store: Store) -> None:
    with pytest.raises(InputError, match="interface name"):
        add(store, "phone", server="x" * 16)


def test_secrets_show_nowhere(store: Store) -> None:
    private_key, preshared_key = PrivateKey.generate(), PresharedKey.generate()
    peer = add(
        store,
        "phone",
        public_key=private_key.public_key(),
        private_key=private_key,
        preshared_key=preshared_key,
    )
    for secret in (private_key.reveal(), preshared_key.reveal()):
        assert secret not in f"{peer!r} {peer}"


def test_no_file_is_open_to_others(store: Store, path: Path) -> None:
    add(store, "phone")
    assert path.parent.stat().st_mode & 0o7777 == 0o700
    modes = {file.name: file.stat().st_mode & 0o7777 for file in path.parent.iterdir()}
    assert modes == {"wgbind.db": 0o600, "wgbind.db-wal": 0o600, "wgbind.db-shm": 0o600}


def test_the_schema_refuses_what_the_code_would(store: Store, path: Path) -> None:
    add(store, "phone", endpoint=("host", 1), groups=["staff"])
    with sqlite3.connect(path) as connection:
        connection.execute("pragma foreign_keys = on")
        for statement in [
            "insert into peer (server, name, public_key, persistent_keepalive, created_at)"
            " select server, name, replace(public_key, '=', 'A'), 0, created_at from peer",
            "insert into peer (server, name, public_key, persistent_keepalive, created_at)"
            " select server, 'new', public_key, 0, created_at from peer",
            "update peer set enabled = null",
            "update peer set description = null",
            "update peer set name = ''",
            "update peer set public_key = 'short'",
            "update peer set preshared_key = 'short'",
            "update peer set private_key = 'short'",
            "update peer set revision = null",
            "update peer set rx_bytes = null",
            "update peer set notes = null",
            "update peer set endpoint_port = null",
            "update peer set endpoint_port = 0",
            "update peer set persistent_keepalive = 65536",
            "update peer set server = 'wg1'",
            "insert into allowed_ip select * from allowed_ip limit 1",
            "update allowed_ip set peer_id = 99",
            "update allowed_ip set prefix_length = 129",
            "insert into peer_group select * from peer_group",
            "update peer_group set peer_id = 99",
            "update peer_group set name = ''",
            "insert into revision values (2, 0)",
        ]:
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(statement)
        connection.execute("delete from peer")
        for table in ("allowed_ip", "peer_group"):
            assert connection.execute(f"select count(*) from {table}").fetchone() == (0,)  # noqa: S608
    connection.close()


@pytest.mark.parametrize("folder", ["plain", "50% #?&"])
def test_the_store_of_a_server(tmp_path: Path, folder: str) -> None:
    paths = Paths("wg0", tmp_path, tmp_path / folder, tmp_path)
    values: dict[str, Any] = {"interface": {"addresses": ["10.8.0.1/24"]}}
    with Store.open(paths, ServerSettings.model_validate(values)) as store:
        add(store, "phone")
    assert [file.name for file in (tmp_path / folder).iterdir()] == ["wgbind.db"]
    values["store"] = {"url": f"sqlite:///{tmp_path}/other.db"}
    with Store.open(paths, ServerSettings.model_validate(values)) as store:
        assert store.peers("wg0") == []
    assert (tmp_path / "other.db").exists()
