"""The peers of all servers on this host; many processes may use one store at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from sqlalchemy import URL, and_, delete, or_, select

from wgbind.errors import ConflictError, KeyFormatError, NotFoundError
from wgbind.keys import PresharedKey, PrivateKey, PublicKey
from wgbind.settings.client import ClientOverrides
from wgbind.settings.paths import parse_interface_name
from wgbind.store import ipam, rows
from wgbind.store.database import Database
from wgbind.store.peer import Peer, require_timely, require_valid
from wgbind.store.schema import peer_table, revision_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from sqlalchemy import Connection
    from typing_extensions import Self, Unpack

    from wgbind.settings.address import Address, InterfaceAddress, Network
    from wgbind.settings.model import ServerSettings
    from wgbind.settings.paths import Paths
    from wgbind.store.peer import PeerChanges


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

    def add_peer(
        self,
        server: str,
        name: str,
        *,
        pools: Sequence[InterfaceAddress],
        public_key: PublicKey,
        preshared_key: PresharedKey | None = None,
        addresses: Sequence[Address] | None = None,
        routed_networks: Sequence[Network] = (),
        groups: Iterable[str] = (),
        endpoint: tuple[str, int] | None = None,
        persistent_keepalive: int = 0,
        private_key: PrivateKey | None = None,
        client: ClientOverrides | None = None,
        description: str = "",
        expires_at: datetime | None = None,
    ) -> Peer:
        """Add a peer and return it.

        `pools` are the server's own addresses with their networks; with `addresses` None the peer
        gets the lowest free one of each. Raises `InputError` for what is wrong by itself
        (`PeerError` for name, key, address, network), and `ConflictError`, naming who has it, for
        what is taken or used up.
        """
        parse_interface_name(server)
        with self._database.writing() as connection:
            if addresses is None:
                addresses = [ipam.next_address(connection, server, pool) for pool in pools]
            peer = Peer(
                server=server,
                name=name,
                public_key=public_key,
                preshared_key=preshared_key,
                addresses=tuple(addresses),
                routed_networks=tuple(routed_networks),
                groups=frozenset(groups),
                endpoint=endpoint,
                persistent_keepalive=persistent_keepalive,
                private_key=private_key,
                created_at=datetime.now(timezone.utc),
                client=client or ClientOverrides(),
                description=description,
                expires_at=expires_at,
            )
            return _save(connection, peer, pools)

    def edit_peer(
        self,
        server: str,
        which: str | PublicKey,
        edit: Callable[[Peer], Peer],
        *,
        pools: Sequence[InterfaceAddress],
    ) -> Peer:
        """Make of a peer what `edit` makes of it, all or nothing, and return it as it now is.

        Nobody else writes meanwhile, so what `edit` leaves as it is stays. A new public key
        without its private key forgets the old private key. Raises what `edit` raises, what
        `add_peer` does, and `NotFoundError`.
        """
        with self._database.writing() as connection:
            row_id, old = _find(connection, server, which)
            peer = edit(old)
            if peer.public_key != old.public_key and peer.private_key == old.private_key:
                peer = replace(peer, private_key=None)
            return _save(connection, peer, pools, row_id, old)

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


def _save(
    connection: Connection,
    peer: Peer,
    pools: Sequence[InterfaceAddress],
    row_id: int | None = None,
    old: Peer | None = None,
) -> Peer:
    """Write a peer, unless something speaks against it, and return it as it now is."""
    require_valid(peer)
    require_timely(peer, old, datetime.now(timezone.utc))
    _require_unique(connection, peer, row_id)
    ipam.require_free(connection, peer, pools, old)
    rows.save(connection, peer, row_id)
    return _find(connection, peer.server, peer.public_key)[1]


def _require_unique(connection: Connection, peer: Peer, row_id: int | None) -> None:
    others = connection.execute(
        select(peer_table.c.name, peer_table.c.public_key).where(
            peer_table.c.server == peer.server,
            peer_table.c.id.is_distinct_from(row_id),
            or_(
                peer_table.c.name == peer.name,
                peer_table.c.public_key == str(peer.public_key),
            ),
        )
    )
    for name, public_key in others:
        if name == peer.name:
            raise ConflictError(
                f"peer name {name!r} is taken on {peer.server}, by the peer {public_key}; "
                "choose another"
            )
        raise ConflictError(
            f"public key {public_key} belongs to peer {name!r} of {peer.server}; "
            "each peer needs a key of its own"
        )
