"""The file under the store: made, brought up to date, or refused and left alone."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from ipaddress import ip_interface
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from wgbind.errors import StoreError
from wgbind.keys import PrivateKey
from wgbind.store import Store, database, schema

POOLS = (ip_interface("10.8.0.1/24"),)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wgbind.db"


def open_store(path: Path) -> Store:
    return Store(f"sqlite:///{path}")


def add(store: Store, name: str = "phone") -> None:
    public_key = PrivateKey.generate().public_key()
    store.add_peer("wg0", name, pools=POOLS, public_key=public_key)


def refuse(path: Path, message: str) -> None:
    """Check that a file is refused with that message, and not changed."""
    before = path.read_bytes(), path.stat().st_mode
    with pytest.raises(StoreError) as error:
        open_store(path)
    assert str(error.value) == f"store {path}: {message}"
    assert (path.read_bytes(), path.stat().st_mode) == before


def write_private(path: Path, content: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(content)


@pytest.mark.parametrize("content", [b"not a database", b"\0" * 4096, b"SQLite format 3\0" * 100])
def test_what_is_no_database(path: Path, content: bytes) -> None:
    write_private(path, content)
    refuse(
        path,
        "file is not a database; it is no store of wgbind; move it away, or restore a backup",
    )


def test_a_damaged_store(path: Path) -> None:
    with open_store(path) as store:
        for number in range(50):
            add(store, f"peer-{number}")
    content = bytearray(path.read_bytes())
    assert len(content) > 8192
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="it is damaged; restore a backup"), open_store(path) as s:
        s.peers("wg0")
    assert path.read_bytes() == content


def test_a_truncated_store(path: Path) -> None:
    with open_store(path) as store:
        add(store)
    content = path.read_bytes()[:8192]
    path.write_bytes(content)
    refuse(path, "database disk image is malformed; it is damaged; restore a backup")


def test_the_database_of_something_else(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table song (title text)")
    connection.close()
    path.chmod(0o600)
    refuse(
        path,
        "it is a database of something else; move it away, or name another in store.url",
    )


def test_a_newer_schema(path: Path) -> None:
    with open_store(path) as store:
        add(store)
    with sqlite3.connect(path) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    connection.close()
    refuse(
        path,
        "its schema '9999' is newer than this version of wgbind; install the newer one",
    )


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_store_that_others_can_read(path: Path, mode: int) -> None:
    open_store(path).close()
    path.chmod(mode)
    refuse(path, f"mode {mode:04o} lets other users in; chmod 600 it")


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    write_private(path, b"")
    with open_store(path) as store:
        add(store)
    with open_store(path) as store:
        assert [peer.name for peer in store.peers("wg0")] == ["phone"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is not the URL of a database that can be used here"),
        ("oracle+hunter2://x", "is not the URL of a database that can be used here"),
        ("hunter2://u:hunter2@h/d", "is not the URL of a database that can be used here"),
        ("sqlite://", "names no file; write one after sqlite:///"),
        ("sqlite:///:memory:", "names no file; write one after sqlite:///"),
    ],
)
def test_a_bad_url(url: str, message: str) -> None:
    with pytest.raises(StoreError) as error:
        Store(url)
    assert str(error.value).startswith(f"store.url {message}")
    assert "hunter2" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_store_that_is_kept_by_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.1)
    other = sqlite3.connect(path, isolation_level=None)
    path.chmod(0o600)
    with open_store(path) as store:
        other.execute("begin immediate")
        assert store.peers("wg0") == []  # a writer keeps no reader waiting
        with pytest.raises(StoreError, match=r"database is locked; another process has kept it"):
            add(store)
        other.execute("rollback")
        add(store)
    other.close()


UNPRIVILEGED = """
import sys
from wgbind.errors import StoreError
from wgbind.store import Store
for path in sys.argv[1:]:
    try:
        Store(f"sqlite:///{path}")
    except StoreError as error:
        print(error)
"""


def test_folders_and_files_without_permission() -> None:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        closed, empty, full = folder / "closed", folder / "empty", folder / "full"
        for inner in (closed, empty, full):
            inner.mkdir()
        open_store(full / "wgbind.db").close()
        (full / "wgbind.db").chmod(0)
        empty.chmod(0o555)
        closed.chmod(0)
        paths = [closed / "wgbind.db", empty / "wgbind.db", empty / "new" / "wgbind.db"]
        # Without its capabilities root is held to the modes of files as everybody is.
        drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
        result = subprocess.run(
            [*drop, sys.executable, "-c", UNPRIVILEGED, *map(str, paths), str(full / "wgbind.db")],
            check=True,
            capture_output=True,
            text=True,
        )
        for inner in (closed, empty):
            inner.chmod(0o755)
        assert result.stdout.splitlines() == [
            *(
                f"store {path}: Permission denied; check its folder and your rights, or run as root"
                for path in paths
            ),
            f"store {full}/wgbind.db: unable to open database file; "
            "check its folder and your rights, or run as root",
        ]
        assert [file.name for file in full.iterdir()] == ["wgbind.db"]
        assert not list(empty.iterdir())


IMPORTS = """
import sys
from wgbind.store import Store
Store(sys.argv[1]).close()
print("alembic" in sys.modules)
"""


def test_only_a_new_or_old_schema_brings_alembic(path: Path) -> None:
    """Its import takes longer than all else that opening a store does."""
    found = [
        subprocess.run(
            [sys.executable, "-c", IMPORTS, f"sqlite:///{path}"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for _ in range(2)
    ]
    assert found == ["True\n", "False\n"]


def test_the_migrations_lead_to_the_schema(path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]
    open_store(path).close()
    drawn = path.with_name("drawn.db")
    for file in (path, drawn):
        engine = create_engine(f"sqlite:///{file}")
        with engine.begin() as connection:
            if file == drawn:
                schema.metadata.create_all(connection)
            else:
                context = MigrationContext.configure(connection)
                assert compare_metadata(context, schema.metadata) == []
        engine.dispose()
    assert tables(path) == tables(drawn)


def test_an_older_schema_keeps_its_peers(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        key = PrivateKey.generate().public_key()
        connection.exec_driver_sql(
            "insert into peer (server, name, public_key, persistent_keepalive, created_at)"
            " values ('wg0', 'phone', ?, 0, '2026-01-01 00:00:00')",
            (str(key),),
        )
        for address, length in ((bytes((4, 10, 8, 0, 2)), 32), (bytes((4, 10, 9, 0, 0)), 16)):
            connection.exec_driver_sql(
                "insert into allowed_ip values ('wg0', ?, ?, ?, 1)", (address, length, length < 32)
            )
    engine.dispose()
    path.chmod(0o600)
    with open_store(path) as store:
        (peer,) = store.peers("wg0")
        assert (peer.name, peer.public_key, peer.groups) == ("phone", key, frozenset())
        assert list(map(str, peer.allowed_ips)) == ["10.8.0.2/32", "10.9.0.0/16"]
        store.remove_peer("wg0", "phone")
        assert store.free("wg0", POOLS[0]) == 253


def tables(path: Path) -> dict[str, list[str]]:
    """Return each table's and index's definition, its parts sorted: order says nothing."""
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "select name, sql from sqlite_master where sql is not null and name not like 'alembic%'"
    ).fetchall()
    connection.close()
    # Columns that a migration added stand in one line, what was drawn at once in many.
    return {name: sorted(" ".join(sql.split()).strip(") ").split(", ")) for name, sql in rows}


def test_wal_and_durability(path: Path) -> None:
    with open_store(path) as store:
        add(store)
        with store._database.reading() as connection:
            pragmas = {
                name: connection.exec_driver_sql(f"pragma {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
    }
