"""Peers that are added in one transaction."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from wgbind.errors import ConflictError
from wgbind.settings.client import ClientOverrides
from wgbind.store import ipam, rows
from wgbind.store.peer import Peer, normal, require_address, require_timely, require_valid
from wgbind.store.schema import peer_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from wgbind.keys import PublicKey
    from wgbind.settings.address import Address, InterfaceAddress
    from wgbind.settings.pool import PoolSettings
    from wgbind.store.peer import PeerFields
    from wgbind.store.vault import Vault


class Addition:
    """New peers of one server, checked one by one, and written together as far as that goes.

    Args:
        connection: A transaction that writes.
        server: Whose peers they are.
        pools: The server's own addresses with their networks.
        limits: What of their networks is given out.
        vault: Seals the private keys.
    """

    def __init__(
        self,
        connection: Connection,
        server: str,
        pools: Sequence[InterfaceAddress],
        limits: PoolSettings,
        vault: Vault,
    ) -> None:
        self._limits = limits
        self._vault = vault
        self._connection = connection
        self._server = server
        self._pools = pools
        self._free: list[Iterator[Address]] = []
        self._added: list[Peer] = []
        self._written = 0
        self._names: dict[str, PublicKey] = {}
        self._keys: dict[PublicKey, str] = {}

    def add(self, name: str, fields: PeerFields) -> Peer:
        """Make a peer of its name and fields and return it; raises as `Store.add_peers` does."""
        addresses = fields.get("addresses")
        # What is asked for by address is looked up among all that there is, so write that first.
        chosen = addresses is not None or bool(fields.get("routed_networks"))
        if chosen:
            self._write()
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
        _require_other(peer, self._names.get(peer.name), self._keys.get(peer.public_key))
        require_unique(self._connection, peer, None)
        if chosen:
            ipam.require_free(self._connection, peer, self._pools, None)
            self._free = []  # it may have what would have been given out next
        self._added.append(peer)
        self._names[peer.name] = peer.public_key
        self._keys[peer.public_key] = peer.name
        return peer

    def finish(self) -> list[Peer]:
        """Write what is not written yet; return all that was added."""
        self._write()
        return self._added

    def settle(self) -> None:
        """Write what is not written yet; others may change what is there before the next `add`."""
        self._write()
        self._free = []
        self._names.clear()
        self._keys.clear()

    def _allot(self) -> tuple[Address, ...]:
        if not self._free:
            self._write()
            self._free = [
                ipam.free_addresses(self._connection, self._server, pool, self._limits)
                for pool in self._pools
            ]
        return tuple(next(free) for free in self._free)

    def _write(self) -> None:
        rows.insert_all(self._connection, self._added[self._written :], self._vault)
        self._written = len(self._added)


def require_unique(connection: Connection, peer: Peer, row_id: int | None) -> None:
    """Refuse a name or key that another row than `row_id` has; raise `ConflictError`."""
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
        _require_other(
            peer, public_key if name == peer.name else None, None if name == peer.name else name
        )


def _require_other(peer: Peer, holder: object | None, owner: str | None) -> None:
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
