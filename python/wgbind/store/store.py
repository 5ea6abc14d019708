"""The peers of all servers on this host; many processes may use one store at once."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import URL, and_, select

from wgbind.keys import PrivateKey
from wgbind.settings.paths import parse_interface_name
from wgbind.store import history_rows, ipam, rows
from wgbind.store.database import Database
from wgbind.store.history import Entry
from wgbind.store.kept import keep
from wgbind.store.schema import (
    allowed_ip_table,
    kept_settings_table,
    peer_table,
    removal_table,
)
from wgbind.store.transaction import Transaction, find
from wgbind.store.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from wgbind.keys import PublicKey
    from wgbind.settings.address import Address, InterfaceAddress
    from wgbind.settings.model import ServerSettings
    from wgbind.settings.paths import Paths
    from wgbind.settings.pool import PoolSettings
    from wgbind.store.history import History
    from wgbind.store.kept import Kept
    from wgbind.store.peer import Peer, PeerChanges, PeerFields
    from wgbind.store.revision import Revision

    _Revision = TypeVar("_Revision", bound=Revision)


@dataclass(frozen=True)
class Changes:
    """What became of the peers of a server up to a version of the store, by the ids of their rows.

    Attributes:
        version: The version.
        whole: Whether `peers` are all that there are; else those that are new or changed.
        peers: Without their private keys.
        removed: An id here and in `peers` is that of a new peer.
    """

    version: int
    whole: bool
    peers: Mapping[int, Peer]
    removed: Sequence[int] = ()


class Store:
    """The peers, in one database; usable from any thread.

    What a call returned is on the disk. Every method raises `StoreError` if the database cannot
    be read or written, or the file of the key that private keys are sealed with.
    """

    def __init__(self, url: str | URL, key_file: Path | None = None) -> None:
        """Open the database with the SQLAlchemy URL `url`; make the file of an SQLite one.

        `key_file` has the key that private keys are sealed with. It is made when the first one is;
        without it, none can be written or read.
        """
        self._vault = Vault(key_file)
        self._database = Database(url, self._sealed)

    @classmethod
    def open(cls, paths: Paths, settings: ServerSettings) -> Self:
        """Open the store that the settings of a server name, else this host's SQLite file."""
        key_file = paths.settings.parent / (settings.store.key_file or paths.stored_keys)
        url = settings.store.url
        if url is not None:
            return cls(url.get_secret_value(), key_file)
        return cls(URL.create("sqlite", database=str(paths.database)), key_file)

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
            return rows.revision_of(connection)

    def peers(self, server: str, *, private_keys: bool = True) -> list[Peer]:
        """Return the peers of a server, by name, with the private keys that are stored or not."""
        vault = self._vault if private_keys else None
        with self._database.reading() as connection:
            found = rows.load(connection, peer_table.c.server == server, vault)
        return [peer for _, peer in found]

    def peer(self, server: str, which: str | PublicKey, *, private_keys: bool = True) -> Peer:
        """Return the peer with the name or public key `which`; raise `NotFoundError`.

        It has its private key as those of `peers` have.
        """
        vault = self._vault if private_keys else None
        with self._database.reading() as connection:
            return find(connection, server, which, vault)[1]

    def with_private_keys(self, peers: Iterable[Peer]) -> list[Peer]:
        """Return peers with the private keys that are stored, where they have none yet."""
        with self._database.reading() as connection:
            return rows.with_private_keys(connection, list(peers), self._vault)

    def sites(self, server: str) -> list[Peer]:
        """Return the peers with networks behind them, by name, without their private keys."""
        behind = select(allowed_ip_table.c.peer_id).where(
            allowed_ip_table.c.server == server, allowed_ip_table.c.routed.is_(True)
        )
        with self._database.reading() as connection:
            found = rows.load(connection, peer_table.c.id.in_(behind))
        return [peer for _, peer in found]

    def changes(self, server: str, since: int | None = None) -> Changes:
        """Return what changed after the version `since`; all there is if that is None or too old.

        What is read grows with what changed, not with how many peers there are.
        """
        ours = peer_table.c.server == server
        with self._database.reading() as connection:
            version = rows.revision_of(connection)
            if since is None or not 0 <= version - since <= rows.KEPT_REVISIONS:
                return Changes(version, True, dict(rows.load(connection, ours)))
            if since == version:
                return Changes(version, False, {})
            peers = rows.load(connection, and_(ours, peer_table.c.revision > since))
            removed = connection.scalars(
                select(removal_table.c.peer_id).where(
                    removal_table.c.server == server, removal_table.c.revision > since
                )
            ).all()
        return Changes(version, False, dict(peers), removed)

    def histories(self, server: str) -> dict[Entry, History]:
        """Return what the peers of a server did."""
        with self._database.reading() as connection:
            return history_rows.load(connection, server)

    def free(
        self,
        server: str,
        pool: InterfaceAddress,
        limits: PoolSettings = ipam.ALL,
        own: Iterable[Address] = (),
    ) -> int:
        """Count the addresses of a network that can be given out; arguments as of `add_peers`.

        `own` are the server's in that network, beside that of `pool`.
        """
        with self._database.reading() as connection:
            return ipam.count_free(connection, server, pool, limits, own)

    def known(self, server: str) -> list[tuple[Peer, History]]:
        """Return the peers of a server, by name, without their private keys, and what they did."""
        with self._database.reading() as connection:
            found = rows.load(connection, peer_table.c.server == server)
            histories = history_rows.load(connection, server)
        return [(peer, histories[Entry(row_id, peer.created_at)]) for row_id, peer in found]

    def record(self, news: Sequence[tuple[Entry, History]]) -> None:
        """Add to what peers did, to all or none; the store's version stays as it is."""
        with self._database.recording() as connection:
            history_rows.add(connection, news)

    @contextmanager
    def transaction(
        self,
        server: str,
        *,
        pools: Sequence[InterfaceAddress],
        limits: PoolSettings = ipam.ALL,
        expected: Sequence[str] = (),
    ) -> Iterator[Transaction]:
        """Give a transaction, whose changes are on the disk when the block ends, or none of them.

        `pools` and `limits` are those of `add_peers`. `expected` are the names or keys of those
        that will be edited or removed, as far as that is known: it takes less time then.
        """
        parse_interface_name(server)
        with self._database.writing() as connection:
            transaction = Transaction(connection, server, pools, limits, self._vault, expected)
            yield transaction
            transaction.write()

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
        limits: PoolSettings = ipam.ALL,
        check: Callable[[Peer], object] = lambda _: None,
    ) -> list[Peer]:
        """Add peers, names and fields, all of them or none; return them in their order.

        `pools` are the server's own addresses with their networks, `limits` says what of these is
        given out to who asks for no address. `check` may refuse each peer before anything is
        written. Raises what `check` and `new` raise, `InputError` for what is wrong by itself
        (`PeerError` for name, key, address, network), and `ConflictError`, naming who has it, for
        what is taken or used up; of `new`, nothing behind that peer was asked for.
        """
        added = []
        with self.transaction(server, pools=pools, limits=limits) as transaction:
            for name, fields in new:
                added.append(transaction.add(name, fields))
                check(added[-1])
        return added

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
        leaves as it is stays. The functions get peers without the private keys that are stored;
        such a key stays until it is replaced, or the public key is. Raises what the functions
        raise, what `add_peers` does, and `NotFoundError`.
        """
        with self.transaction(server, pools=pools) as transaction:
            return [transaction.edit(which, edit) for which, edit in edits]

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
            found = dict(find(connection, server, each) for each in which)
            rows.remove_all(connection, server, [*found])
        return list(found.values())

    def revise(self, server: str, edit: Callable[[Sequence[Peer]], _Revision]) -> _Revision:
        """Make of the peers of a server, by name, what `edit` says, all or nothing; return that.

        Nobody else writes meanwhile. `edit` sees to it that names, keys and prefixes are
        unique (see `occupancy`): this is for so many peers that each look-up counts. Raises what
        it raises.
        """
        parse_interface_name(server)
        with self._database.writing() as connection:
            found = rows.load(connection, peer_table.c.server == server)
            revised = edit([peer for _, peer in found])
            ids = {peer.public_key: row_id for row_id, peer in found}
            rows.remove_all(connection, server, [ids[each.public_key] for each in revised.removed])
            rows.replace_all(connection, [(ids[each.public_key], each) for each in revised.changed])
            rows.insert_all(connection, revised.added, self._vault)
        return revised

    def keep(self, server: str, keys: Iterable[PublicKey]) -> Kept:
        """Return all that there is of peers, for `Transaction.put_back`."""
        with self._database.reading() as connection:
            return keep(connection, server, keys)

    def kept_settings(self, server: str) -> str | None:
        """Return the token of the latest `Transaction.keep_settings` of a server that was kept."""
        found = select(kept_settings_table.c.token).where(kept_settings_table.c.server == server)
        with self._database.reading() as connection:
            token: str | None = connection.scalar(found)
        return token

    def _sealed(self, private_key: str) -> bytes:
        """Seal a private key that an older schema had in plain."""
        self._vault.prepare(None)
        return self._vault.seal(PrivateKey(private_key))
