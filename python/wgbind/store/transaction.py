"""Changes of one server's peers, in any order, that are kept together or not at all."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, func, insert, or_, select

from wgbind.errors import KeyFormatError, NotFoundError
from wgbind.keys import PublicKey
from wgbind.settings.address import pools
from wgbind.settings.client import ClientOverrides
from wgbind.store import ipam, rows
from wgbind.store.kept import put_back
from wgbind.store.peer import Peer, normal, require_address, require_timely, require_valid
from wgbind.store.schema import kept_settings_table, peer_table
from wgbind.store.taken import TakenInDatabase, TakenInMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection

    from wgbind.settings.address import Address, InterfaceAddress
    from wgbind.settings.pool import PoolSettings
    from wgbind.store.kept import Kept
    from wgbind.store.peer import PeerFields
    from wgbind.store.taken import Taken
    from wgbind.store.vault import Vault

# To read once what all peers have takes as long as to ask about a hundredth of them one by one.
_FEW = 8
_SHARE = 100


class Transaction:
    """Changes of one server's peers; each is checked beside those before it.

    What is alike is written together, as far as that goes: a statement for each of many peers
    costs more than all else.

    Args:
        connection: A transaction that writes.
        server: Whose peers they are.
        pools: The server's own addresses with their networks.
        limits: What of their networks is given out.
        vault: Seals the private keys.
        expected: Names or keys of the peers that will be edited or removed, as far as that is
            known: they are read together.
    """

    def __init__(
        self,
        connection: Connection,
        server: str,
        pools: Sequence[InterfaceAddress],
        limits: PoolSettings,
        vault: Vault,
        expected: Sequence[str] = (),
    ) -> None:
        self._connection = connection
        self._server = server
        self._pools = pools
        self._limits = limits
        self._vault = vault
        self._expected = expected
        self._found: dict[str, tuple[int, Peer]] = {}
        self._taken: Taken = TakenInDatabase(connection, server)
        self._asked = 0
        self._patience = _FEW
        self._free: list[Iterator[Address]] = []
        # What is not written yet; only one of them has anything.
        self._added: list[Peer] = []
        self._edited: dict[int, tuple[Peer, Peer]] = {}
        self._removed: list[int] = []
        self._vacated: set[str] = set()  # names and keys that those who are edited had

    def add(self, name: str, fields: PeerFields) -> Peer:
        """Add a peer; return and raise as `Store.add_peers` does."""
        if self._edited or self._removed:
            self.write()
        addresses = fields.get("addresses")
        now = datetime.now(timezone.utc)
        peer = normal(
            Peer(
                server=self._server,
                name=name,
                public_key=fields["public_key"],
                preshared_key=fields.get("preshared_key"),
                addresses=self._allot() if addresses is None else tuple(addresses),
                routed_networks=tuple(fields.get("routed_networks", ())),
                groups=frozenset(fields.get("groups", ())),
                endpoint=fields.get("endpoint"),
                persistent_keepalive=fields.get("persistent_keepalive", 0),
                private_key=fields.get("private_key"),
                created_at=now,
                client=fields.get("client") or ClientOverrides(),
                description=fields.get("description", ""),
                expires_at=fields.get("expires_at"),
                enabled=fields.get("enabled", True),
                notes=fields.get("notes", ""),
            )
        )
        require_valid(peer)
        require_address(peer, None)
        require_timely(peer, None, now)
        taken = self._ask()
        taken.require_unique(peer, None)
        if addresses is not None or peer.routed_networks:
            taken.require_free(peer, self._pools, None)
            if addresses is not None or self._reaches_in(peer):
                self._free = []  # it may have what would have been given out next
        taken.note(None, peer)
        self._added.append(peer)
        return peer

    def edit(self, which: str | PublicKey, edit: Callable[[Peer], Peer]) -> Peer:
        """Make of a peer what `edit` makes of it; return and raise as `Store.edit_peers` does."""
        if self._added or self._removed:
            self.write()
        row_id, old = self._find(which)
        peer = normal(edit(old))
        require_valid(peer)
        require_address(peer, old)
        require_timely(peer, old, datetime.now(timezone.utc))
        called = {peer.name, str(peer.public_key)}
        renamed = called - {old.name, str(old.public_key)}
        moved = (peer.addresses, peer.routed_networks) != (old.addresses, old.routed_networks)
        if renamed or moved:
            taken = self._ask()
            if renamed:
                taken.require_unique(peer, old)
            if moved:
                taken.require_free(peer, self._pools, old)
                self._free = []
            taken.note(old, peer)
        before, pending = self._edited.get(row_id, (old, old))
        if (
            renamed & self._vacated  # in one statement, a name cannot go from row to row
            or pending.private_key is not None  # it is written, even if the next has none
            or pending.public_key != before.public_key
        ):
            self.write()
            before = old
        self._edited[row_id] = (before, peer)
        self._vacated |= {old.name, str(old.public_key)} - called
        self._note(old, (row_id, rows.without_key(peer)))
        return peer

    def remove(self, which: str | PublicKey) -> Peer:
        """Remove a peer and return what it was; raise `NotFoundError`."""
        if self._added or self._edited:
            self.write()
        row_id, peer = self._find(which)
        self._taken.note(peer, None)
        self._free = []
        self._removed.append(row_id)
        self._note(peer, None)
        return peer

    def put_back(self, kept: Kept) -> None:
        """Make peers what they were, with all that they had, also those that were removed.

        Raises `StoreError` if somebody has taken a name, key or address of theirs meanwhile.
        """
        self.write()
        put_back(self._connection, kept)
        self._taken, self._asked = TakenInDatabase(self._connection, self._server), 0
        self._found, self._free = {}, []

    def keep_settings(self, token: str) -> None:
        """Note that settings with this token (32 digits) hold if these changes do."""
        ours = kept_settings_table.c.server == self._server
        self._connection.execute(delete(kept_settings_table).where(ours))
        values = {"server": self._server, "token": token}
        self._connection.execute(insert(kept_settings_table).values(values))

    def write(self) -> None:
        """Write what is not written yet."""
        rows.remove_all(self._connection, self._server, self._removed)
        changed = [(row_id, *both) for row_id, both in self._edited.items()]
        rows.replace_many(self._connection, changed, self._vault)
        rows.insert_all(self._connection, self._added, self._vault)
        self._removed, self._edited, self._added = [], {}, []
        self._vacated.clear()

    def _ask(self) -> Taken:
        """Return what knows who has what now."""
        if isinstance(self._taken, TakenInMemory):
            return self._taken
        self.write()
        self._asked += 1
        if self._asked == _FEW:
            ours = peer_table.c.server == self._server
            count = self._connection.execute(select(func.count()).where(ours)).scalar_one()
            self._patience = max(_FEW, count // _SHARE)
        if self._asked >= self._patience:
            self._taken = TakenInMemory(self._connection, self._server)
        return self._taken

    def _allot(self) -> tuple[Address, ...]:
        if not self._free:
            self.write()
            own = [pool.ip for pool in self._pools]
            self._free = [
                ipam.free_addresses(self._connection, self._server, pool, self._limits, own)
                for pool in pools(self._pools)
            ]
        return tuple(next(free) for free in self._free)

    def _reaches_in(self, peer: Peer) -> bool:
        return any(
            network.overlaps(pool.network)
            for network in peer.routed_networks
            for pool in self._pools
        )

    def _find(self, which: str | PublicKey) -> tuple[int, Peer]:
        """Find a peer as the changes so far left it."""
        expected, self._expected = self._expected, ()
        if len(expected) > 1:
            self.write()
            for some in rows.chunks(expected):
                named = or_(peer_table.c.name.in_(some), peer_table.c.public_key.in_(some))
                ours = and_(peer_table.c.server == self._server, named)
                for found in rows.load(self._connection, ours):
                    self._found |= dict.fromkeys(_keys(found[1]), found)
        known = self._found.get(str(which))
        if known is None:
            self.write()
            known = find(self._connection, self._server, which)
        return known

    def _note(self, old: Peer, new: tuple[int, Peer] | None) -> None:
        for key in _keys(old):
            self._found.pop(key, None)
        if new is not None:
            self._found |= dict.fromkeys(_keys(new[1]), new)


def _keys(peer: Peer) -> tuple[str, str]:
    """What a peer is looked for by; a name is never mistaken for a key."""
    return peer.name, str(peer.public_key)


def find(
    connection: Connection, server: str, which: str | PublicKey, vault: Vault | None = None
) -> tuple[int, Peer]:
    """Find a peer by its name or its public key, in any form that `PublicKey` takes.

    Returns it with its row's id; raises `NotFoundError`.
    """
    try:
        matches = peer_table.c.public_key == str(PublicKey(str(which)))
    except KeyFormatError:
        matches = peer_table.c.name == which
    found = rows.load(connection, and_(peer_table.c.server == server, matches), vault)
    if not found:
        raise NotFoundError(f"no peer {str(which)!r} on {server}; `wgbind peer list` shows them")
    return found[0]
