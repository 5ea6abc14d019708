"""The database under the store: how it is opened, brought up to date and spoken to."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing, contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, event, inspect, make_url, text, update
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from wgbind.errors import StoreError
from wgbind.settings.files import atomic_write, exposure
from wgbind.store.schema import HEAD, revision_table
from wgbind.store.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import URL, Connection, Engine

_log = logging.getLogger(__name__)

_BUSY_SECONDS = 10  # how long one waits for another's transaction
_RECORD_SECONDS = 1  # likewise, to write what can be written later
_QUEUE_SECONDS = 30  # how long one waits for those of all who came before

_MIGRATING = Lock()  # Alembic keeps its context in global variables

# What to do about an error of SQLite, by a part of its text.
_REMEDIES = {
    "unable to open": "check its folder and your rights, or run as root",
    "readonly": "check the rights of the file and its folder, or run as root",
    "not a database": "it is no store of wgbind; move it away, or restore a backup",
    "malformed": "it is damaged; restore a backup",
    "is locked": f"another process has kept it for {_BUSY_SECONDS} seconds; try again",
    "is full": "make room on the disk",
}


class Database:
    """An open database at the newest schema, for any number of threads."""

    def __init__(self, url: str | URL, seal: Callable[[str], bytes]) -> None:
        """Open the SQLAlchemy URL `url`; make the file (0600) of an SQLite one.

        A new or older schema is brought up to date; `seal` encrypts a private key in base64,
        where an older store has such in plain. Raises `StoreError`; what is no store of
        wgbind stays untouched.
        """
        self._seal = seal
        self._turns: Turns | None = None
        try:
            parsed = make_url(url)
            engine = create_engine(parsed, hide_parameters=True)
        except (ArgumentError, NoSuchModuleError, ImportError):
            # Not even as the cause: it may show the password.
            raise StoreError(
                "store.url is not the URL of a database that can be used here; "
                "write one such as sqlite:////var/lib/wgbind/wgbind.db"
            ) from None
        self._name = parsed.render_as_string(hide_password=True)
        if engine.dialect.name == "sqlite":
            self._name = parsed.database or ":memory:"
            if self._name == ":memory:":
                raise StoreError("store.url names no file; write one after sqlite:///")
            event.listen(engine, "connect", _configure_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            self._require_file(Path(self._name))
            self._turns = Turns(Path(self._name).parent)
        self._reader = engine
        self._writer = engine.execution_options(wgbind_write=True)
        try:
            self._prepare()
        except BaseException:
            engine.dispose()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._reader.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one moment of the store.

        Raises `StoreError` if it cannot be read.
        """
        with self._explained(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection whose changes are on the disk when the block ends, or none of them.

        Writers wait for each other here, so what one reads stays true until it commits: SQLite
        locks the file, other databases the row. Raises `StoreError`.
        """
        with self._writing(_QUEUE_SECONDS) as connection:
            connection.execute(update(revision_table).values(number=revision_table.c.number + 1))
            yield connection

    @contextmanager
    def recording(self) -> Iterator[Connection]:
        """Give a connection as `writing` does, for what peers did: nobody has to look at it.

        Who is kept waiting comes back later.
        """
        with self._writing(_RECORD_SECONDS) as connection:
            yield connection

    @contextmanager
    def _writing(self, patience: float) -> Iterator[Connection]:
        with self._turn(patience), self._explained(), self._writer.begin() as connection:
            yield connection

    def _turn(self, patience: float) -> AbstractContextManager[None]:
        return nullcontext() if self._turns is None else self._turns.taken(patience)

    def _require_file(self, path: Path) -> None:
        try:
            if not path.exists():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with suppress(FileExistsError):
                    atomic_write(path, b"", 0o600, replace=False)
            # By its name: closing a descriptor of it would drop SQLite's locks in this process.
            problem = exposure(path.stat())
        except OSError as error:
            raise StoreError(
                f"store {path}: {error.strerror}; check its folder and your rights, or run as root"
            ) from error
        if problem is not None:
            raise StoreError(f"store {path}: {problem}")

    def _prepare(self) -> None:
        with self._explained():
            with self._reader.begin() as connection:
                revision = _revision(connection)
                if revision == HEAD:
                    return
                if revision is None and inspect(connection).get_table_names():
                    raise StoreError(
                        f"store {self._name}: it is a database of something else; "
                        "move it away, or name another in store.url"
                    )
            # Others wait from here on, so not for this; it takes longer than the rest.
            import_module("alembic.command")
            with self._turn(_QUEUE_SECONDS):
                if self._reader.dialect.name == "sqlite":
                    _use_wal(self._reader)
                with self._writer.begin() as connection:
                    self._migrate(connection)
                if revision is not None and self._reader.dialect.name == "sqlite":
                    self._shred()

    def _shred(self) -> None:
        """Write the file and its log anew, without what an older schema had and this one has not.

        There may be private keys in it that stand nowhere else in plain any more.
        """
        try:
            with closing(self._reader.raw_connection()) as connection:
                connection.cursor().execute("vacuum")
                connection.cursor().execute("pragma wal_checkpoint(truncate)")
        except sqlite3.Error as error:
            _log.warning(
                "store %s: what an older version wrote may still be legible in it: %s; "
                "`sqlite3 %s vacuum` writes it anew",
                *(self._name, error, self._name),
            )

    def _migrate(self, connection: Connection) -> None:
        # Only here: the import takes longer than all else that opening a store does.
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        folder = Path(__file__).with_name("migrations")
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        config.attributes["seal"] = self._seal
        try:
            with _MIGRATING:
                command.upgrade(config, "head")
        except CommandError as error:
            raise StoreError(
                f"store {self._name}: its schema {_revision(connection)!r} is newer than this "
                "version of wgbind; install the newer one"
            ) from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            message = " ".join(str(cause).split())  # some drivers write several lines
            remedy = next((r for part, r in _REMEDIES.items() if part in message), None)
            raise StoreError(
                f"store {self._name}: {message}" + (f"; {remedy}" if remedy else "")
            ) from error


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("select version_num from alembic_version"))
    return found


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # no hidden BEGIN: ours is in _begin_sqlite
    connection.execute(f"pragma busy_timeout = {_BUSY_SECONDS * 1000}")
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma synchronous = full")  # a commit that returned survives power loss


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first cannot always be upgraded (SQLITE_BUSY_SNAPSHOT).
    write = connection.get_execution_options().get("wgbind_write")
    connection.exec_driver_sql("begin immediate" if write else "begin")


def _use_wal(engine: Engine) -> None:
    """Let readers and a writer work at once; the file remembers it."""
    deadline = time.monotonic() + _BUSY_SECONDS
    with closing(engine.raw_connection()) as connection:
        while True:
            try:
                connection.cursor().execute("pragma journal_mode = wal")
                break
            except sqlite3.OperationalError:  # locked: here SQLite does not wait by itself
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.01)
