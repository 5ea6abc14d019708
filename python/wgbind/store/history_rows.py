"""The histories of peers in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, case, func, select, update

from wgbind.store.history import Entry, History
from wgbind.store.schema import UtcDateTime, peer_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

_SEEN = bindparam("seen", type_=UtcDateTime())

# A sum in the database, so that what several servers write adds up.
_ADD = (
    update(peer_table)
    .where(peer_table.c.id == bindparam("row_id"), peer_table.c.created_at == bindparam("added_at"))
    .values(
        rx_bytes=peer_table.c.rx_bytes + bindparam("received"),
        tx_bytes=peer_table.c.tx_bytes + bindparam("sent"),
        last_seen=case(
            (peer_table.c.last_seen > _SEEN, peer_table.c.last_seen),
            else_=func.coalesce(_SEEN, peer_table.c.last_seen),
        ),
    )
)


def add(connection: Connection, news: Sequence[tuple[Entry, History]]) -> None:
    """Add to the histories of peers; of those that are gone, nothing is kept."""
    if news:
        connection.execute(
            _ADD,
            [
                {
                    "row_id": entry.row_id,
                    "added_at": entry.created_at,
                    "received": history.rx_bytes,
                    "sent": history.tx_bytes,
                    "seen": history.last_seen,
                }
                for entry, history in news
            ],
        )


def load(connection: Connection, server: str) -> dict[Entry, History]:
    """Return the histories of a server's peers."""
    columns = (
        peer_table.c.id,
        peer_table.c.created_at,
        peer_table.c.rx_bytes,
        peer_table.c.tx_bytes,
        peer_table.c.last_seen,
    )
    rows = connection.execute(select(*columns).where(peer_table.c.server == server))
    return {Entry(row_id, created_at): History(*rest) for row_id, created_at, *rest in rows}
