"""The peers of all servers on this host; many processes may use one store at once."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import URL, Integer, and_, bindparam, delete, insert, select

from wgbind.errors import KeyFormatError, NotFoundError
from wgbind.keys import PrivateKey, PublicKey
from wgbind.settings.paths import parse_interface_name
from wgbind.store import history_rows, ipam, rows
from wgbind.store.addition import Addition, require_unique
from wgbind.store.database import Database
from wgbind.store.history import Entry
from wgbind.store.kept import keep, put_back
from wgbind.store.peer import normal, require_address, require_timely, require_valid
from wgbind.store.schema import (
    allowed_ip_table,
    kept_settings_table,
    peer_table,
    removal_table,
)
from wgbind.store.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from sqlalchemy import Connection
    from typing_extensions import Self, Unpack

    from wgbind.settings.address import InterfaceAddress
    from wgbind.settings.model import ServerSettings
    from wgbind.settings.paths import Paths
    from wgbind.settings.pool import PoolSettings
    from wgbind.store.history import History
    from wgbind.store.kept import Kept
    from wgbind.store.peer import Peer, PeerChanges, PeerFields
    from wgbind.store.revision import Revision

    _Revision = TypeVar("_Revision", bound=Revision)


# Removals are remembered for so many revisions; a reader that is further behind reads all peers.
_KEPT_REVISIONS = 1000

# To read ten thousand peers at once takes as long as to look for some hundred of them.
_MANY = 100


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
            return _find(connection, server, which, vault)[1]

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
            if since is None or not 0 <= version - since <= _KEPT_REVISIONS:
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

    def free(self, server: str, pool: InterfaceAddress, limits: PoolSettings = ipam.ALL) -> int:
        """Count the addresses of a network that can be given out; arguments as of `add_peers`."""
        with self._database.reading() as connection:
            return ipam.count_free(connection, server, pool, limits)

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
    ) -> Iterator[Transaction]:
        """Give a transaction, whose changes are on the disk when the block ends, or none of them.

        `pools` and `limits` are those of `add_peers`.
        """
        parse_interface_name(server)
        with self._database.writing() as connection:
            transaction = Transaction(connection, server, pools, limits, self._vault)
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
        parse_interface_name(server)
        with self._database.writing() as connection:
            addition = Addition(connection, server, pools, limits, self._vault)
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
        leaves as it is stays. The functions get peers without the private keys that are stored;
        such a key stays until it is replaced, or the public key is. Raises what the functions
        raise, what `add_peers` does, and `NotFoundError`.
        """
        with self._database.writing() as connection:
            return [
                _edit(connection, *_find(connection, server, which), edit, pools, self._vault)
                for which, edit in edits
            ]

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
            _remove(connection, server, [*found])
        return list(found.values())

    def revise(self, server: str, edit: Callable[[Sequence[Peer]], _Revision]) -> _Revision:
        """Make of the peers of a server, by name, what `edit` says, all or nothing; return that.

        Nobody else writes meanwhile. `edit` sees to it that names and keys are unique and nothing
        overlaps (see `occupancy`): this is for so many peers that each look-up counts. Raises what
        it raises.
        """
        parse_interface_name(server)
        with self._database.writing() as connection:
            found = rows.load(connection, peer_table.c.server == server)
            revised = edit([peer for _, peer in found])
            ids = {peer.public_key: row_id for row_id, peer in found}
            _remove(connection, server, [ids[peer.public_key] for peer in revised.removed])
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


class Transaction:
    """Changes of one server's peers, in any order, that are kept together or not at all."""

    def __init__(
        self,
        connection: Connection,
        server: str,
        pools: Sequence[InterfaceAddress],
        limits: PoolSettings,
        vault: Vault,
    ) -> None:
        self._connection = connection
        self._server = server
        self._pools = pools
        self._vault = vault
        self._addition = Addition(connection, server, pools, limits, vault)
        self._looked = 0
        self._known: dict[str, tuple[int, Peer]] = {}

    def add(self, name: str, fields: PeerFields) -> Peer:
        """Add a peer; return and raise as `Store.add_peers` does."""
        return self._addition.add(name, fields)

    def edit(self, which: str | PublicKey, edit: Callable[[Peer], Peer]) -> Peer:
        """Make of a peer what `edit` makes of it; return and raise as `Store.edit_peers` does."""
        row_id, old = self._find(which)
        peer = _edit(self._connection, row_id, old, edit, self._pools, self._vault)
        self._note(old, (row_id, replace(peer, private_key=None)))
        return peer

    def remove(self, which: str | PublicKey) -> Peer:
        """Remove a peer and return what it was; raise `NotFoundError`."""
        row_id, peer = self._find(which)
        _remove(self._connection, self._server, [row_id])
        self._note(peer, None)
        return peer

    def put_back(self, kept: Kept) -> None:
        """Make peers what they were, with all that they had, also those that were removed.

        Raises `StoreError` if somebody has taken a name, key or address of theirs meanwhile.
        """
        self._addition.settle()
        put_back(self._connection, kept)

    def keep_settings(self, token: str) -> None:
        """Note that settings with this token (32 digits) hold if these changes do."""
        ours = kept_settings_table.c.server == self._server
        self._connection.execute(delete(kept_settings_table).where(ours))
        values = {"server": self._server, "token": token}
        self._connection.execute(insert(kept_settings_table).values(values))

    def finish(self) -> None:
        """Write what is not written yet."""
        self._addition.settle()

    def _find(self, which: str | PublicKey) -> tuple[int, Peer]:
        """Find a peer; after so many were looked for, among all that there are."""
        self._addition.settle()
        self._looked += 1
        if self._looked == _MANY:
            found = rows.load(self._connection, peer_table.c.server == self._server)
            self._known = {key: each for each in found for key in _keys(each[1])}
        # Who was added since is not there, nor who is named by another form of a key.
        known = self._known.get(str(which))
        return known or _find(self._connection, self._server, which)

    def _note(self, old: Peer, new: tuple[int, Peer] | None) -> None:
        if self._known:
            for key in _keys(old):
                self._known.pop(key, None)
            if new is not None:
                self._known |= dict.fromkeys(_keys(new[1]), new)


def _keys(peer: Peer) -> tuple[str, str]:
    """What a peer is looked for by; a name is never mistaken for a key."""
    return peer.name, str(peer.public_key)


def _edit(
    connection: Connection,
    row_id: int,
    old: Peer,
    edit: Callable[[Peer], Peer],
    pools: Sequence[InterfaceAddress],
    vault: Vault,
) -> Peer:
    peer = normal(edit(old))
    require_valid(peer)
    require_address(peer, old)
    require_timely(peer, old, datetime.now(timezone.utc))
    if (peer.name, peer.public_key) != (old.name, old.public_key):
        require_unique(connection, peer, row_id)
    if (peer.addresses, peer.routed_networks) != (old.addresses, old.routed_networks):
        ipam.require_free(connection, peer, pools, old)
    rows.replace_one(connection, peer, row_id, vault, old)
    return peer


def _remove(connection: Connection, server: str, row_ids: Sequence[int]) -> None:
    """Remove the peers in these rows, and remember it for a while."""
    if not row_ids:
        return
    revision = rows.revision_of(connection)
    rows.delete_all(connection, row_ids)
    outdated = removal_table.c.revision < revision - _KEPT_REVISIONS
    connection.execute(delete(removal_table).where(outdated))
    removals = [{"revision": revision, "peer_id": each, "server": server} for each in row_ids]
    # A transaction may remove two peers that had the same row one after the other.
    same = and_(
        removal_table.c.revision == revision,
        removal_table.c.peer_id == bindparam("row_id", type_=Integer),
    )
    connection.execute(delete(removal_table).where(same), [{"row_id": each} for each in row_ids])
    connection.execute(insert(removal_table), removals)


def _find(
    connection: Connection, server: str, which: str | PublicKey, vault: Vault | None = None
) -> tuple[int, Peer]:
    """Find a peer by its name or its public key, in any form that `PublicKey` takes."""
    try:
        matches = peer_table.c.public_key == str(PublicKey(str(which)))
    except KeyFormatError:
        matches = peer_table.c.name == which
    found = rows.load(connection, and_(peer_table.c.server == server, matches), vault)
    if not found:
        raise NotFoundError(f"no peer {str(which)!r} on {server}; `wgbind peer list` shows them")
    return found[0]
