"""Clients' private keys in the store: sealed, and opened with the right file alone."""

import sqlite3
from base64 import b64decode
from collections.abc import Iterator
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from wgbind.errors import SettingsError, StoreError
from wgbind.keys import PrivateKey
from wgbind.store import Peer, Store, database

POOLS = (ip_interface("10.8.0.1/16"),)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wgbind.db"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "stored.key"


@pytest.fixture
def store(path: Path, key_file: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{path}", key_file) as opened:
        yield opened


def add(store: Store, name: str) -> PrivateKey:
    private_key = PrivateKey.generate()
    public_key = private_key.public_key()
    store.add_peer("wg0", name, pools=POOLS, public_key=public_key, private_key=private_key)
    return private_key


def on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def is_in_plain(path: Path, private_key: PrivateKey) -> bool:
    text, data = private_key.reveal(), on_disk(path)
    return text.encode() in data or b64decode(text) in data


def test_a_key_is_sealed_and_its_file_is_made_by_the_first(
    store: Store, path: Path, key_file: Path
) -> None:
    store.add_peer("wg0", "other", pools=POOLS, public_key=PrivateKey.generate().public_key())
    assert not key_file.exists()
    first, second = add(store, "first"), add(store, "second")
    assert key_file.stat().st_mode & 0o7777 == 0o600
    assert not is_in_plain(path, first)
    assert not is_in_plain(path, second)
    with Store(f"sqlite:///{path}", key_file) as again:
        assert again.peer("wg0", "first").private_key == first
        assert {peer.name: peer.private_key for peer in again.peers("wg0")} == {
            "first": first,
            "other": None,
            "second": second,
        }
        assert all(peer.private_key is None for peer in again.changes("wg0").peers.values())


def test_who_needs_no_private_key_needs_no_file(store: Store, path: Path, key_file: Path) -> None:
    private_key = add(store, "phone")
    kept = key_file.read_bytes()
    key_file.unlink()
    with Store(f"sqlite:///{path}", key_file) as again:
        assert again.update_peer("wg0", "phone", pools=POOLS, enabled=False).private_key is None
        assert [peer.name for peer in again.changes("wg0").peers.values()] == ["phone"]
        for refused in (lambda: again.peer("wg0", "phone"), lambda: again.peers("wg0")):
            with pytest.raises(StoreError, match="is missing; restore the file") as error:
                refused()
            assert str(error.value).startswith(f"{key_file}: ")
        # Another key would be made, and then two were needed.
        with pytest.raises(StoreError, match="is missing; restore the file"):
            add(again, "second")
        assert not key_file.exists()
    key_file.touch(0o600)
    key_file.write_bytes(kept)
    with Store(f"sqlite:///{path}", key_file) as again:
        assert again.peer("wg0", "phone").private_key == private_key


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (f"{'A' * 43}=", StoreError, "it is not the key that the private key of"),
        ("no key\n", StoreError, "it holds no key; restore the file"),
        ("\udcff", StoreError, "it holds no key; restore the file"),
    ],
)
def test_a_wrong_file(
    store: Store, path: Path, key_file: Path, content: str, error: Any, message: str
) -> None:
    private_key = add(store, "phone")
    key_file.write_bytes(content.encode(errors="surrogateescape"))
    with Store(f"sqlite:///{path}", key_file) as again:
        for use in (lambda: again.peer("wg0", "phone"), lambda: add(again, "second")):
            with pytest.raises(error) as raised:
                use()
            assert str(raised.value).startswith(f"{key_file}: {message}")
            assert private_key.reveal() not in str(raised.value)
        assert [peer.name for peer in again.changes("wg0").peers.values()] == ["phone"]


def test_a_file_that_others_can_read(store: Store, path: Path, key_file: Path) -> None:
    add(store, "phone")
    key_file.chmod(0o640)
    refusal = pytest.raises(SettingsError, match="lets other users in; chmod 600 it")
    with Store(f"sqlite:///{path}", key_file) as again, refusal:
        again.peer("wg0", "phone")


def test_a_sealed_key_is_of_its_peer_alone(store: Store, path: Path) -> None:
    """Who can write to the database cannot give one peer the other's key."""
    add(store, "one")
    add(store, "other")
    with sqlite3.connect(path) as connection:
        connection.execute(
            "update peer set sealed_private_key ="
            " (select sealed_private_key from peer where name = 'other') where name = 'one'"
        )
    connection.close()
    with pytest.raises(StoreError, match="or that is damaged"):
        store.peer("wg0", "one")


def test_without_a_file(path: Path) -> None:
    with Store(f"sqlite:///{path}") as store:
        with pytest.raises(StoreError, match="opened without the file of their key"):
            add(store, "phone")
        assert store.peers("wg0") == []


def make_old_store(path: Path, *private_keys: PrivateKey) -> None:
    """Make a store as it was when private keys stood in it in plain."""
    path.touch(0o600)
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        # One that was removed may still stand in what is free now.
        for number, key in enumerate((*private_keys, private_keys[-1])):
            connection.exec_driver_sql(
                "insert into peer (id, server, name, public_key, private_key,"
                " persistent_keepalive, created_at) values (?, 'wg0', ?, ?, ?, 0, ?)",
                (
                    number,
                    f"p{number}",
                    str(key.public_key()) if number < len(private_keys) else "x" * 44,
                    key.reveal(),
                    "2026-01-01 00:00:00.000000",
                ),
            )
            connection.exec_driver_sql(
                "insert into allowed_ip values ('wg0', ?, 32, 0, ?)",
                (bytes((4, 10, 8, 0, 2 + number)), number),
            )
        connection.exec_driver_sql("delete from peer where public_key = ?", ("x" * 44,))
    engine.dispose()


def test_keys_in_plain_are_sealed_and_nothing_of_them_stays(path: Path, key_file: Path) -> None:
    private_keys = [PrivateKey.generate() for _ in range(20)]
    make_old_store(path, *private_keys)
    assert all(is_in_plain(path, key) for key in private_keys)
    with Store(f"sqlite:///{path}", key_file) as store:
        found = {peer.public_key: peer.private_key for peer in store.peers("wg0")}
        assert found == {key.public_key(): key for key in private_keys}
        assert not any(is_in_plain(path, key) for key in private_keys)


def test_keys_in_plain_stay_if_they_cannot_be_sealed(path: Path, key_file: Path) -> None:
    private_key = PrivateKey.generate()
    make_old_store(path, private_key)
    for file in (None, Path("/proc/nobody/may/write.key")):
        with pytest.raises(StoreError):
            Store(f"sqlite:///{path}", file)
    with Store(f"sqlite:///{path}", key_file) as store:
        (peer,) = store.peers("wg0")
        assert isinstance(peer, Peer)
        assert peer.private_key == private_key
