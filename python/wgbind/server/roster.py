"""The peers of one server as its store has them: read once, and then as far as they change."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from wgbind.store.history import Entry

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from wgbind.keys import PublicKey
    from wgbind.store.peer import Peer
    from wgbind.store.store import Changes, Store

# Of keys that nobody has any more: as many as there may be events that still speak of them.
_REMEMBERED = 1 << 14


class Roster:
    """The peers of the store; one thread refreshes it, any may look things up at any moment.

    Args:
        store: An open store.
        server: Whose peers they are.
    """

    def __init__(self, store: Store, server: str) -> None:
        self._store = store
        self._server = server
        self._version: int | None = None
        self._peers: dict[int, Peer] = {}
        self._ids: dict[PublicKey, int] = {}
        self._former: dict[PublicKey, tuple[str, Entry]] = {}

    @property
    def is_current(self) -> bool:
        """Whether nobody changed the store since; cheap to ask. Raises `StoreError`."""
        return self._store.version() == self._version

    def refresh(self) -> AbstractSet[PublicKey] | None:
        """Read what changed; return the keys of those peers, old and new; None for any.

        Raises `StoreError`.
        """
        changes = self._store.changes(self._server, self._version)
        touched: set[PublicKey] = set()
        gone = self._peers.keys() - changes.peers if changes.whole else changes.removed
        # Who stays is known at every step, by the new key before the old one is forgotten.
        for row_id in self._peers.keys() & gone:
            touched.add(self._forget(row_id, self._peers[row_id]))
            del self._peers[row_id]
        for row_id, peer in changes.peers.items():
            before = self._peers.get(row_id)
            self._peers[row_id] = peer
            self._ids[peer.public_key] = row_id
            touched.add(peer.public_key)
            if before is not None and before.public_key != peer.public_key:
                touched.add(self._forget(row_id, before))
        self._version = changes.version
        return None if changes.whole else touched

    def peers(self) -> list[Peer]:
        """Return the peers of the last refresh, by name."""
        return sorted(self._peers.values(), key=attrgetter("name"))

    def read(self) -> dict[int, Peer]:
        """Return the peers of this moment by the ids of their rows, in any order.

        Raises `StoreError`.
        """
        version = self._version  # first: what a refresh changes meanwhile is read once more
        peers = self._peers.copy()
        return _merge(peers, self._store.changes(self._server, version))

    def name_of(self, public_key: PublicKey) -> str | None:
        """Return the name of the peer that has a key, or had it just now."""
        row_id = self._ids.get(public_key)
        peer = None if row_id is None else self._peers.get(row_id)
        if peer is not None:
            return peer.name
        former = self._former.get(public_key)
        return None if former is None else former[0]

    def entry_of(self, public_key: PublicKey) -> Entry | None:
        """Return whose history goes on by what a key did, or did until just now."""
        row_id = self._ids.get(public_key)
        peer = None if row_id is None else self._peers.get(row_id)
        if row_id is not None and peer is not None:
            return Entry(row_id, peer.created_at)
        former = self._former.get(public_key)
        return None if former is None else former[1]

    def _forget(self, row_id: int, peer: Peer) -> PublicKey:
        """Note that a row has no longer the key of `peer`; return that key."""
        key = peer.public_key
        # Another row may have the key by now.
        if self._ids.get(key) == row_id:
            self._former[key] = (peer.name, Entry(row_id, peer.created_at))
            del self._ids[key]
            while len(self._former) > _REMEMBERED:
                self._former.pop(next(iter(self._former)))
        return key


def _merge(peers: dict[int, Peer], changes: Changes) -> dict[int, Peer]:
    if changes.whole:
        return dict(changes.peers)
    for row_id in changes.removed:
        peers.pop(row_id, None)
    return peers | dict(changes.peers)
