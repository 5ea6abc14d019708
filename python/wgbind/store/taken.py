"""Which names, keys and addresses the peers of a server have, and so nobody else can.

All of it runs inside a write transaction, so what it finds free stays free.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import LargeBinary, or_, select, type_coerce

from wgbind.errors import ConflictError
from wgbind.store import ipam
from wgbind.store.occupancy import Occupancy
from wgbind.store.schema import allowed_ip_table, peer_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from wgbind.settings.address import InterfaceAddress
    from wgbind.store.peer import Peer


class Taken(Protocol):
    """Who has what; `old` is always the peer before a change, None if it is new."""

    def require_unique(self, peer: Peer, old: Peer | None) -> None:
        """Refuse a name or key that another peer has; raise `ConflictError`."""

    def require_free(self, peer: Peer, pools: Sequence[InterfaceAddress], old: Peer | None) -> None:
        """Refuse addresses and networks as `ipam.require_free` does."""

    def note(self, old: Peer | None, new: Peer | None) -> None:
        """Take a change, to be written later; without `new`, the peer goes."""


class TakenInDatabase:
    """Asks the database about each peer; what is noted has to be written before it is asked.

    Args:
        connection: A transaction that writes.
        server: Whose peers they are.
    """

    def __init__(self, connection: Connection, server: str) -> None:
        self._connection = connection
        self._server = server

    def require_unique(self, peer: Peer, old: Peer | None) -> None:
        """As `Taken` says."""
        key = str(peer.public_key)
        others = self._connection.execute(
            select(peer_table.c.name, peer_table.c.public_key).where(
                peer_table.c.server == self._server,
                or_(peer_table.c.name == peer.name, peer_table.c.public_key == key),
            )
        )
        own = None if old is None else old.name
        for name, public_key in others:
            if name != own:
                _require_other(
                    peer,
                    public_key if name == peer.name else None,
                    None if name == peer.name else name,
                )

    def require_free(self, peer: Peer, pools: Sequence[InterfaceAddress], old: Peer | None) -> None:
        """As `Taken` says."""
        find = partial(ipam.holder, self._connection, self._server, besides=(old or peer).name)
        ipam.require_free(peer, pools, old, find)

    def note(self, old: Peer | None, new: Peer | None) -> None:
        """As `Taken` says."""


class TakenInMemory:
    """Reads once who has what: for changes of so many peers that each look-up counts.

    Args:
        connection: A transaction that writes.
        server: Whose peers they are.
    """

    def __init__(self, connection: Connection, server: str) -> None:
        self._names: dict[str, str] = {}
        self._owners: dict[str, str] = {}
        self._occupancy = Occupancy()
        found = connection.execute(
            select(peer_table.c.name, peer_table.c.public_key).where(peer_table.c.server == server)
        )
        for name, key in found:
            self._names[name], self._owners[key] = key, name
        # As bytes: to make addresses of them would take the most time.
        address = type_coerce(allowed_ip_table.c.address, LargeBinary)
        ranges = connection.execute(
            select(address, allowed_ip_table.c.prefix_length, peer_table.c.name)
            .join_from(allowed_ip_table, peer_table)
            .where(allowed_ip_table.c.server == server)
        )
        self._occupancy.fill((packed[0], packed[1:], *rest) for packed, *rest in ranges)

    def require_unique(self, peer: Peer, old: Peer | None) -> None:
        """As `Taken` says."""
        key = str(peer.public_key)
        if old is None or peer.name != old.name:
            _require_other(peer, self._names.get(peer.name), None)
        if old is None or peer.public_key != old.public_key:
            _require_other(peer, None, self._owners.get(key))

    def require_free(self, peer: Peer, pools: Sequence[InterfaceAddress], old: Peer | None) -> None:
        """As `Taken` says."""
        own = () if old is None else old.allowed_ips
        self._occupancy.discard(own)
        try:
            ipam.require_free(peer, pools, old, self._occupancy.holder)
        finally:
            self._occupancy.add(own, peer.name if old is None else old.name)

    def note(self, old: Peer | None, new: Peer | None) -> None:
        """As `Taken` says."""
        if old is not None:
            del self._names[old.name], self._owners[str(old.public_key)]
            self._occupancy.discard(old.allowed_ips)
        if new is not None:
            self._names[new.name], self._owners[str(new.public_key)] = str(new.public_key), new.name
            self._occupancy.add(new.allowed_ips, new.name)


def _require_other(peer: Peer, holder: str | None, owner: str | None) -> None:
    """Refuse a peer whose name has `holder`, a key, or whose key has `owner`, a name."""
    if holder is not None:
        raise ConflictError(
            f"peer name {peer.name!r} is taken on {peer.server}, by the peer {holder}; "
            "choose another"
        )
    if owner is not None:
        raise ConflictError(
            f"public key {peer.public_key} belongs to peer {owner!r} of {peer.server}; "
            "each peer needs a key of its own"
        )
