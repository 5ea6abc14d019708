"""Peers to and from the rows of the tables."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from ipaddress import ip_network
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Integer, and_, bindparam, delete, insert, select, update

from wgbind.keys import PresharedKey, PublicKey
from wgbind.settings.client import ClientOverrides
from wgbind.store.peer import Peer
from wgbind.store.schema import (
    allowed_ip_table,
    client_override_table,
    peer_group_table,
    peer_table,
    removal_table,
    revision_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Table

    from wgbind.store.vault import Vault

Item = TypeVar("Item")

COMMON = ClientOverrides()

_AT_ONCE = 500  # SQLite takes 32,766 values in a statement, other databases less

# Removals are remembered for so many revisions; a reader that is further behind reads all peers.
KEPT_REVISIONS = 1000

_ROW_ID = bindparam("row_id", type_=Integer)
_UPDATE = update(peer_table).where(peer_table.c.id == _ROW_ID)


def load(
    connection: Connection, where: ColumnElement[bool], vault: Vault | None = None
) -> list[tuple[int, Peer]]:
    """Return the peers whose row `where` is true of, by name, each with the row's id.

    Their private keys are left out unless there is a `vault` to open them; raises `StoreError`.
    """
    allowed_ips: defaultdict[int, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(
        select(allowed_ip_table)
        .join_from(allowed_ip_table, peer_table)
        .where(where)
        .order_by(allowed_ip_table.c.address, allowed_ip_table.c.prefix_length)
    ):
        allowed_ips[row.peer_id].append(row)
    groups: defaultdict[int, list[str]] = defaultdict(list)
    for row_id, group in connection.execute(
        select(peer_group_table).join_from(peer_group_table, peer_table).where(where)
    ):
        groups[row_id].append(group)
    clients = {
        row.peer_id: ClientOverrides.model_validate_json(row.settings)
        for row in connection.execute(
            select(client_override_table).join_from(client_override_table, peer_table).where(where)
        )
    }
    peers = connection.execute(select(peer_table).where(where).order_by(peer_table.c.name))
    return [
        (
            row.id,
            _peer(
                row,
                allowed_ips[row.id],
                groups.get(row.id, ()),
                clients.get(row.id, COMMON),
                vault,
            ),
        )
        for row in peers
    ]


def with_private_keys(connection: Connection, peers: Sequence[Peer], vault: Vault) -> list[Peer]:
    """Return peers with the private keys that are stored, where they have none yet."""
    missing = [str(peer.public_key) for peer in peers if peer.private_key is None]
    sealed: dict[tuple[str, str], bytes] = {}
    for some in chunks(missing):
        columns = select(
            peer_table.c.server, peer_table.c.public_key, peer_table.c.sealed_private_key
        ).where(peer_table.c.public_key.in_(some), peer_table.c.sealed_private_key.is_not(None))
        for server, public_key, found in connection.execute(columns):
            sealed[server, public_key] = found
    return [
        replace(peer, private_key=vault.open(peer.public_key, found))
        if peer.private_key is None
        and (found := sealed.get((peer.server, str(peer.public_key)))) is not None
        else peer
        for peer in peers
    ]


def chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Cut values into lists that a statement takes."""
    remaining = iter(items)
    while some := list(islice(remaining, _AT_ONCE)):
        yield some


def insert_all(connection: Connection, peers: Sequence[Peer], vault: Vault) -> None:
    """Write new peers."""
    if not peers:
        return
    revision = revision_of(connection)
    made = connection.execute(
        insert(peer_table).returning(peer_table.c.id, peer_table.c.public_key),
        [
            {**_values(peer, revision), "sealed_private_key": sealed}
            for peer, sealed in zip(peers, _seal(connection, peers, vault), strict=True)
        ],
    )
    ids = {public_key: row_id for row_id, public_key in made}
    _insert_parts(connection, [(ids[str(peer.public_key)], peer) for peer in peers])


def replace_many(
    connection: Connection, changed: Sequence[tuple[int, Peer, Peer]], vault: Vault
) -> None:
    """Write peers, by their rows' ids: what stands there, and what shall.

    With the same key as before, a private key that is stored stays if the peer has none here. Names
    and keys must not go from one to the other.
    """
    if not changed:
        return
    revision = revision_of(connection)
    sealed = [new for _, old, new in changed if new.private_key or new.public_key != old.public_key]
    seals = dict(zip(map(id, sealed), _seal(connection, sealed, vault), strict=True))
    plain: list[dict[str, object]] = []
    resealed: list[dict[str, object]] = []
    for row_id, _, new in changed:
        values = {"row_id": row_id, **_values(new, revision)}
        if id(new) in seals:
            resealed.append({**values, "sealed_private_key": seals[id(new)]})
        else:
            plain.append(values)
    for some in (plain, resealed):
        if some:
            connection.execute(_UPDATE, some)
    before = _parts([(row_id, old) for row_id, old, _ in changed])
    after = _parts([(row_id, new) for row_id, _, new in changed])
    for table, lines in after.items():
        was, shall = _by_peer(before[table]), _by_peer(lines)
        moved = [row_id for row_id, _, _ in changed if was.get(row_id) != shall.get(row_id)]
        _delete_parts(connection, table, moved)
        added = [line for row_id in moved for line in shall.get(row_id, ())]
        if added:
            connection.execute(insert(table), added)


def revision_of(connection: Connection) -> int:
    """Return the store's revision; in a transaction that writes, the one that it makes."""
    number: int = connection.execute(select(revision_table.c.number)).scalar_one()
    return number


def _seal(connection: Connection, peers: Sequence[Peer], vault: Vault) -> list[bytes | None]:
    """Seal the private keys that there are."""
    if any(peer.private_key is not None for peer in peers):
        sealed = peer_table.c.sealed_private_key
        found = connection.execute(
            select(peer_table.c.public_key, sealed).where(sealed.is_not(None)).limit(1)
        ).one_or_none()
        vault.prepare(None if found is None else (PublicKey(found[0]), found[1]))
    return [None if peer.private_key is None else vault.seal(peer.private_key) for peer in peers]


def replace_all(connection: Connection, peers: Sequence[tuple[int, Peer]]) -> None:
    """Write peers, whose public keys stay, in place of those in the rows with these ids.

    What they have may go from one to the other.
    """
    if not peers:
        return
    revision = revision_of(connection)
    for table in (allowed_ip_table, peer_group_table, client_override_table):
        _delete_parts(connection, table, [each for each, _ in peers])
    connection.execute(
        _UPDATE, [{"row_id": each, **_values(peer, revision)} for each, peer in peers]
    )
    _insert_parts(connection, peers)


def remove_all(connection: Connection, server: str, row_ids: Sequence[int]) -> None:
    """Remove the peers of a server in these rows, and remember it for a while."""
    if not row_ids:
        return
    revision = revision_of(connection)
    delete_all(connection, row_ids)
    outdated = removal_table.c.revision < revision - KEPT_REVISIONS
    connection.execute(delete(removal_table).where(outdated))
    removals = [{"revision": revision, "peer_id": each, "server": server} for each in row_ids]
    # A transaction may remove two peers that had the same row one after the other.
    same = and_(removal_table.c.revision == revision, removal_table.c.peer_id == _ROW_ID)
    connection.execute(delete(removal_table).where(same), [{"row_id": each} for each in row_ids])
    connection.execute(insert(removal_table), removals)


def delete_all(connection: Connection, row_ids: Sequence[int]) -> None:
    """Remove the peers in these rows; nobody is told."""
    if row_ids:
        connection.execute(
            delete(peer_table).where(peer_table.c.id == _ROW_ID),
            [{"row_id": each} for each in row_ids],
        )


def without_key(peer: Peer) -> Peer:
    """Return a peer as it is read without the private keys."""
    return peer if peer.private_key is None else replace(peer, private_key=None)


def _values(peer: Peer, revision: int) -> dict[str, object]:
    host, port = peer.endpoint or (None, None)
    return {
        "server": peer.server,
        "name": peer.name,
        "public_key": str(peer.public_key),
        "preshared_key": None if peer.preshared_key is None else peer.preshared_key.reveal(),
        "endpoint_host": host,
        "endpoint_port": port,
        "persistent_keepalive": peer.persistent_keepalive,
        "created_at": peer.created_at,
        "description": peer.description,
        "enabled": peer.enabled,
        "expires_at": peer.expires_at,
        "notes": peer.notes,
        "layout": "\n".join(peer.layout),
        "revision": revision,
    }


def _by_peer(lines: Iterable[dict[str, object]]) -> dict[object, list[dict[str, object]]]:
    found: dict[object, list[dict[str, object]]] = {}
    for line in lines:
        found.setdefault(line["peer_id"], []).append(line)
    return found


def _delete_parts(connection: Connection, table: Table, row_ids: Sequence[int]) -> None:
    if row_ids:
        whose = delete(table).where(table.c.peer_id == _ROW_ID)
        connection.execute(whose, [{"row_id": each} for each in row_ids])


def _insert_parts(connection: Connection, peers: Sequence[tuple[int, Peer]]) -> None:
    """Write what of peers, each with its row's id, is in other tables."""
    for table, values in _parts(peers).items():
        if values:
            connection.execute(insert(table), values)


def _parts(peers: Sequence[tuple[int, Peer]]) -> dict[Table, list[dict[str, object]]]:
    """Return the rows of other tables that peers have, each with its row's id."""
    return {
        allowed_ip_table: [
            {
                "server": peer.server,
                "address": network.network_address,
                "prefix_length": network.prefixlen,
                "routed": index >= len(peer.addresses),
                "peer_id": row_id,
            }
            for row_id, peer in peers
            for index, network in enumerate(peer.allowed_ips)
        ],
        peer_group_table: [
            {"peer_id": row_id, "name": group}
            for row_id, peer in peers
            for group in sorted(peer.groups)
        ],
        client_override_table: [
            {"peer_id": row_id, "settings": peer.client.model_dump_json(exclude_none=True)}
            for row_id, peer in peers
            if peer.client != COMMON
        ],
    }


def _peer(
    row: Row[Any],
    allowed_ips: list[Row[Any]],
    groups: Iterable[str],
    client: ClientOverrides,
    vault: Vault | None,
) -> Peer:
    public_key = PublicKey(row.public_key)
    sealed = row.sealed_private_key
    return Peer(
        server=row.server,
        name=row.name,
        public_key=public_key,
        preshared_key=None if row.preshared_key is None else PresharedKey(row.preshared_key),
        addresses=tuple(ip.address for ip in allowed_ips if not ip.routed),
        routed_networks=tuple(
            ip_network((ip.address, ip.prefix_length)) for ip in allowed_ips if ip.routed
        ),
        groups=frozenset(groups),
        endpoint=None if row.endpoint_host is None else (row.endpoint_host, row.endpoint_port),
        persistent_keepalive=row.persistent_keepalive,
        private_key=None if vault is None or sealed is None else vault.open(public_key, sealed),
        created_at=row.created_at,
        client=client,
        description=row.description,
        enabled=row.enabled,
        expires_at=row.expires_at,
        notes=row.notes,
        layout=tuple(row.layout.split("\n")) if row.layout else (),
    )
