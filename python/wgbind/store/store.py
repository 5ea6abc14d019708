"""The peers of all servers on this host; many processes may use one store at once."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from sqlalchemy import URL, and_, delete, select

from wgbind.errors import KeyFormatError, NotFoundError
from wgbind.keys import PublicKey
from wgbind.settings.paths import parse_interface_name
from wgbind.store import ipam, rows
from wgbind.store.addition import Addition, require_unique
from wgbind.store.database import Database
from wgbind.store.peer import normal, require_timely, require_valid
from wgbind.store.schema import peer_table, revision_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from sqlalchemy import Connection
    from typing_extensions import Self, Unpack

    from wgbind.settings.address import InterfaceAddress
    from wgbind.settings.model import ServerSettings
    from wgbind.settings.paths import Paths
    from wgbind.store.peer import Peer, PeerChanges, PeerFields


class Store:
    """The peers, in one database; usable from any thread.

    What a call returned is on the disk. Every method raises `StoreError` if the database cannot
    be read or written.
    """

    def __init__(self, url: str | URL) -> None:
        """Open the database with the SQLAlchemy URL `url`; make the file of an SQLite one."""
        self._database = Database(url)

    @classmethod
    def open(cls, paths: Paths, settings: ServerSettings) -> Self:
        """Open the store that the settings of a server name, else this host's SQLite file."""
        url = settings.store.url
        if url is not None:
            return cls(url.get_secret_value())
        return cls(URL.create("sqlite", database=str(paths.database)))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def version(self) -> int:
        """Return a number that grows whenever anybody changed something; cheap to poll."""
        with self._database.reading() as connection:
            number: int = connection.execute(select(revision_table.c.number)).scalar_one()
        return number

    def peers(self, server: str) -> list[Peer]:
        """Return the peers of a server, by name."""
        with self._database.reading() as connection:
            found = rows.load(connection, peer_table.c.server == server)
        return [peer for _, peer in found]

    def peer(self, server: str, which: str | PublicKey) -> Peer:
        """Return the peer with the name or public key `which`; raise `NotFoundError`."""
        with self._database.reading() as connection:
            return _find(connection, server, which)[1]

    @contextmanager
    def transaction(
        self, server: str, *, pools: Sequence[InterfaceAddress]
    ) -> Iterator[Transaction]:
        """Give a transaction, whose changes are on the disk when the block ends, or none of them.

        `pools` are the server's own addresses with their networks.
        """
        parse_interface_name(server)
        with self._database.writing() as connection:
            transaction = Transaction(connection, server, pools)
            yield transaction
            transaction.finish()

    def add_peer(
        self,
        server: str,
        name: str,
        *,
        pools: Sequence[InterfaceAddress],
        **fields: Unpack[PeerFields],
    ) -> Peer:
        """Add a peer and return it, as `add_peers` does."""
        return self.add_peers(server, [(name, fields)], pools=pools)[0]

    def add_peers(
        self,
        server: str,
        new: Iterable[tuple[str, PeerFields]],
        *,
        pools: Sequence[InterfaceAddress],
        check: Callable[[Peer], object] = lambda _: None,
    ) -> list[Peer]:
        """Add peers, names and fields, all of them or none; return them in their order.

        `pools` are the server's own addresses with their networks. `check` may refuse each peer
        before anything is written. Raises what `check` and `new` raise, `InputError` for what is
        wrong by itself (`PeerError` for name, key, address, network), and `ConflictError`, naming
        who has it, for what is taken or used up; of `new`, nothing behind that peer was asked for.
        """
        parse_interface_name(server)
        with self._database.writing() as connection:
            addition = Addition(connection, server, pools)
            for name, fields in new:
                check(addition.add(name, fields))
            return addition.finish()

    def edit_peer(
        self,
        server: str,
        which: str | PublicKey,
        edit: Callable[[Peer], Peer],
        *,
        pools: Sequence[InterfaceAddress],
    ) -> Peer:
        """Make of a peer what `edit` makes of it, as `edit_peers` does."""
        return self.edit_peers(server, [(which, edit)], pools=pools)[0]

    def edit_peers(
        self,
        server: str,
        edits: Iterable[tuple[str | PublicKey, Callable[[Peer], Peer]]],
        *,
        pools: Sequence[InterfaceAddress],
    ) -> list[Peer]:
        """Make of peers what functions make of them, all or nothing; return them as they now are.

        They are changed one after the other. Nobody else writes meanwhile, so what a function
        leaves as it is stays. A new public key without its private key forgets the old private
        key. Raises what the functions raise, what `add_peers` does, and `NotFoundError`.
        """
        with self._database.writing() as connection:
            return [_edit(connection, server, which, edit, pools) for which, edit in edits]

    def update_peer(
        self,
        server: str,
        which: str | PublicKey,
        *,
        pools: Sequence[InterfaceAddress],
        **changes: Unpack[PeerChanges],
    ) -> Peer:
        """Change what `changes` names of a peer, as `edit_peer` does."""
        return self.edit_peer(server, which, lambda old: replace(old, **changes), pools=pools)

    def remove_peer(self, server: str, which: str | PublicKey) -> Peer:
        """Remove a peer and return what it was; raise `NotFoundError`."""
        return self.remove_peers(server, [which])[0]

    def remove_peers(self, server: str, which: Iterable[str | PublicKey]) -> list[Peer]:
        """Remove peers, all of them or none, and return what they were; raise `NotFoundError`."""
        with self._database.writing() as connection:
            found = dict(_find(connection, server, each) for each in which)
            for row_id in found:
                connection.execute(delete(peer_table).where(peer_table.c.id == row_id))
        return list(found.values())


class Transaction:
    """Changes of one server's peers, in any order, that are kept together or not at all."""

    def __init__(
        self, connection: Connection, server: str, pools: Sequence[InterfaceAddress]
    ) -> None:
        self._connection = connection
        self._server = server
        self._pools = pools
        self._addition = Addition(connection, server, pools)

    def add(self, name: str, fields: PeerFields) -> Peer:
        """Add a peer; return and raise as `Store.add_peers` does."""
        return self._addition.add(name, fields)

    def edit(self, which: str | PublicKey, edit: Callable[[Peer], Peer]) -> Peer:
        """Make of a peer what `edit` makes of it; return and raise as `Store.edit_peers` does."""
        self._addition.settle()
        return _edit(self._connection, self._server, which, edit, self._pools)

    def remove(self, which: str | PublicKey) -> Peer:
        """Remove a peer and return what it was; raise `NotFoundError`."""
        self._addition.settle()
        row_id, peer = _find(self._connection, self._server, which)
        self._connection.execute(delete(peer_table).where(peer_table.c.id == row_id))
        return peer

    def finish(self) -> None:
        """Write what is not written yet."""
        self._addition.settle()


def _edit(
    connection: Connection,
    server: str,
    which: str | PublicKey,
    edit: Callable[[Peer], Peer],
    pools: Sequence[InterfaceAddress],
) -> Peer:
    row_id, old = _find(connection, server, which)
    peer = normal(edit(old))
    if peer.public_key != old.public_key and peer.private_key == old.private_key:
        peer = replace(peer, private_key=None)
    require_valid(peer)
    require_timely(peer, old, datetime.now(timezone.utc))
    require_unique(connection, peer, row_id)
    ipam.require_free(connection, peer, pools, old)
    rows.replace_one(connection, peer, row_id)
    return peer


def _find(connection: Connection, server: str, which: str | PublicKey) -> tuple[int, Peer]:
    """Find a peer by its name or its public key, in any form that `PublicKey` takes."""
    try:
        matches = peer_table.c.public_key == str(PublicKey(str(which)))
    except KeyFormatError:
        matches = peer_table.c.name == which
    found = rows.load(connection, and_(peer_table.c.server == server, matches))
    if not found:
        raise NotFoundError(f"no peer {str(which)!r} on {server}; `wgbind peer list` shows them")
    return found[0]
