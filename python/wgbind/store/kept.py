"""Peers that are to be changed or removed, kept with all that the store has, to be put back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from wgbind.store import rows
from wgbind.store.schema import metadata, peer_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Table

    from wgbind.keys import PublicKey

# A peer's own row comes first: the others name it.
_PARTS = [
    table
    for table in metadata.sorted_tables
    if any(key.column.table is peer_table for key in table.foreign_keys)
]

# Whose it is and what it did.
_DONE = [peer_table.c[name] for name in ("id", "created_at", "rx_bytes", "tx_bytes", "last_seen")]


@dataclass(frozen=True)
class Kept:
    """The rows of peers, by table; they hold secrets."""

    rows: dict[Table, list[dict[str, Any]]] = field(repr=False)


def keep(connection: Connection, server: str, keys: Iterable[PublicKey]) -> Kept:
    """Read all that there is of the peers of a server with these keys."""
    kept: dict[Table, list[dict[str, Any]]] = {table: [] for table in (peer_table, *_PARTS)}
    for some in rows.chunks(map(str, keys)):
        ours = (peer_table.c.server == server) & peer_table.c.public_key.in_(some)
        found = connection.execute(select(peer_table).where(ours)).mappings()
        kept[peer_table] += map(dict, found)
        ids = select(peer_table.c.id).where(ours)
        for table in _PARTS:
            found = connection.execute(select(table).where(table.c.peer_id.in_(ids))).mappings()
            kept[table] += map(dict, found)
    return Kept(kept)


def put_back(connection: Connection, kept: Kept) -> None:
    """Write the rows again, in place of what there is now of the same peers.

    They are new to whoever reads only what changed. What the peers did meanwhile stays.
    """
    revision = rows.revision_of(connection)
    did: dict[int, dict[str, Any]] = {}
    before = {each["id"]: each["created_at"] for each in kept.rows[peer_table]}
    for some in rows.chunks(before):
        for row in connection.execute(select(*_DONE).where(peer_table.c.id.in_(some))).mappings():
            if row["created_at"] == before[row["id"]]:  # ids are used again
                did[row["id"]] = dict(row)
    rows.delete_all(connection, list(did))
    for table, values in kept.rows.items():
        if table is peer_table:
            values = [{**each, **did.get(each["id"], {}), "revision": revision} for each in values]
        if values:
            connection.execute(insert(table), values)
