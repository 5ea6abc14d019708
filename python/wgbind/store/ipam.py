"""Which addresses a peer may have (IP address management).

All of it runs inside a write transaction, so what it finds free stays free.
"""

from __future__ import annotations

from ipaddress import ip_network
from itertools import combinations
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select

from wgbind.errors import ConflictError, InputError, PeerError
from wgbind.settings.address import alone, require_tunnel_network, reserved
from wgbind.settings.pool import PoolSettings
from wgbind.store.schema import allowed_ip_table, peer_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from wgbind.settings.address import Address, InterfaceAddress, Network
    from wgbind.settings.pool import AddressRange
    from wgbind.store.peer import Peer

_TAKEN = select(func.count()).where(
    allowed_ip_table.c.server == bindparam("server"),
    allowed_ip_table.c.address.between(bindparam("first"), bindparam("last")),
    allowed_ip_table.c.routed.is_(False),
)

_FIRST_BETWEEN = (
    select(allowed_ip_table.c.address)
    .where(
        allowed_ip_table.c.server == bindparam("server"),
        allowed_ip_table.c.address.between(bindparam("first"), bindparam("last")),
    )
    .order_by(allowed_ip_table.c.address)
    .limit(1)
)

# Default routes apart, what the peers of one server have never overlaps, so only the last range
# that begins before the end of a network can overlap it.
_LAST_BEFORE = (
    select(allowed_ip_table.c.address, allowed_ip_table.c.prefix_length, peer_table.c.name)
    .join_from(allowed_ip_table, peer_table)
    .where(
        allowed_ip_table.c.server == bindparam("server"),
        allowed_ip_table.c.address <= bindparam("end"),
        allowed_ip_table.c.prefix_length > 0,
        peer_table.c.name != bindparam("besides"),
    )
    .order_by(allowed_ip_table.c.address.desc())
    .limit(1)
)

_SAME_START = (
    select(allowed_ip_table.c.address, allowed_ip_table.c.prefix_length, peer_table.c.name)
    .join_from(allowed_ip_table, peer_table)
    .where(
        allowed_ip_table.c.server == bindparam("server"),
        allowed_ip_table.c.address == bindparam("end"),
        peer_table.c.name != bindparam("besides"),
    )
)


ALL = PoolSettings()
"""To give out whatever is free."""


def free_addresses(
    connection: Connection, server: str, pool: InterfaceAddress, limits: PoolSettings = ALL
) -> Iterator[Address]:
    """Give the free addresses of the network that the server is in with address `pool`, in order.

    They are free so long as nothing else is given out. Raises `ConflictError` after the last one.
    """
    family = type(pool.ip)
    for first, last in _usable(pool, limits):
        while (address := _lowest_free(connection, server, family, first, last)) is not None:
            bounds = {"server": server, "first": address, "last": family(last)}
            end = connection.execute(_FIRST_BETWEEN, bounds).scalar_one_or_none()
            first = last + 1 if end is None else int(end)
            yield from map(family, range(int(address), first))
    limited = any(each.within(pool.network) for each in (*limits.ranges, *limits.reserved))
    raise ConflictError(
        f"no address is free in {pool.network}"
        + (", as pool.ranges and pool.reserved limit it" if limited else "")
        + "; remove a peer, or "
        + ("change those" if limited else "use a larger network in interface.addresses")
    )


def count_free(
    connection: Connection, server: str, pool: InterfaceAddress, limits: PoolSettings = ALL
) -> int:
    """Count what `free_addresses` would give, but for networks behind peers that lie within."""
    family = type(pool.ip)
    return sum(
        last - first + 1 - _count_taken(connection, server, family(first), family(last))
        for first, last in _usable(pool, limits)
    )


def require_free(
    peer: Peer,
    pools: Sequence[InterfaceAddress],
    old: Peer | None,
    find: Callable[[Network], tuple[Network, str] | None],
) -> None:
    """Refuse addresses and networks that a peer cannot have or another one has.

    `old` is the peer before a change; what it had may lie outside `pools`, which may have changed.
    `find` tells what of another peer overlaps a network, and the name of that peer. Raises
    `PeerError` and `ConflictError`.
    """
    require_permitted(peer, pools, old)
    for one, other in combinations(peer.allowed_ips, 2):
        # The longest prefix wins: a default route is what nobody else has.
        if not _coexist(one, other):
            raise PeerError(f"{other} overlaps {one} of the same peer; leave one of them out")
    for network in peer.allowed_ips:
        found = find(network)
        if found is not None:
            other, owner = found
            single = network.prefixlen == network.max_prefixlen
            raise ConflictError(
                f"{network.network_address if single else network} "
                f"{'belongs to' if other == network else f'overlaps {other} of'} "
                f"peer {owner!r} of {peer.server}; choose another"
            )


def require_permitted(peer: Peer, pools: Sequence[InterfaceAddress], old: Peer | None) -> None:
    """Refuse what no peer of the server can have; arguments and errors as of `require_free`."""
    for address in peer.addresses:
        if old is None or address not in old.addresses:
            _require_usable(address, pools)
    for network in peer.routed_networks:
        if old is None or network not in old.routed_networks:
            _require_routable(network, pools)


def _require_usable(address: Address, pools: Sequence[InterfaceAddress]) -> None:
    pool = next((pool for pool in pools if address in pool.network), None)
    if pool is None:
        networks = ", ".join(str(pool.network) for pool in pools)
        raise PeerError(f"address {address} is not in the server's networks; use one in {networks}")
    if address == pool.ip:
        raise PeerError(f"address {address} is the server's own; use another in {pool.network}")
    if address in reserved(pool.network):
        raise PeerError(f"address {address} is reserved; use another in {pool.network}")


def _require_routable(network: Network, pools: Sequence[InterfaceAddress]) -> None:
    try:
        require_tunnel_network(network)
    except InputError as error:
        raise PeerError(f"routed network {error}") from None
    for pool in pools:
        if network.prefixlen > 0 and network.overlaps(pool.network):
            raise ConflictError(
                f"routed network {network} overlaps the server's own {pool.network}; "
                "name only what is beyond the peer"
            )


def _usable(pool: InterfaceAddress, limits: PoolSettings) -> Iterator[tuple[int, int]]:
    """The ranges of addresses in a pool that are given out, lowest first, apart from each other."""
    network = pool.network
    whole = (int(network.network_address), int(network.broadcast_address))
    wanted = sorted(_inside(network, limits.ranges)) or [whole]
    holes = sorted(
        [
            *((int(address), int(address)) for address in (pool.ip, *reserved(network))),
            *_inside(network, limits.reserved),
        ]
    )
    begin = 0
    for first, last in wanted:
        begin = max(begin, first)
        for hole_first, hole_last in holes:
            if begin < hole_first <= last:
                yield begin, hole_first - 1
            if hole_first <= last:
                begin = max(begin, hole_last + 1)
        if begin <= last:
            yield begin, last
        begin = max(begin, last + 1)


def _inside(network: Network, ranges: Iterable[AddressRange]) -> Iterator[tuple[int, int]]:
    return ((int(each.first), int(each.last)) for each in ranges if each.within(network))


def _lowest_free(
    connection: Connection, server: str, family: type[Address], first: int, last: int
) -> Address | None:
    while (address := _lowest_gap(connection, server, family, first, last)) is not None:
        # A routed network is here only if the server's networks changed after it was given.
        found = overlapping(connection, server, alone(address))
        if found is None:
            return address
        first = int(found[0].broadcast_address) + 1
    return None


def _lowest_gap(
    connection: Connection, server: str, family: type[Address], first: int, last: int
) -> Address | None:
    """Find the lowest address from `first` to `last` that no peer has, by halving the range.

    A range with fewer taken addresses than it is long has a gap: a few counts in the index find
    the lowest one, however large the network is.
    """

    def taken(first: int, last: int) -> int:
        return _count_taken(connection, server, family(first), family(last))

    if first > last or (count := taken(first, last)) > last - first:
        return None
    last = min(last, first + count)
    while first < last:
        middle = (first + last) // 2
        if taken(first, middle) > middle - first:
            first = middle + 1
        else:
            last = middle
    return family(first)


def _count_taken(connection: Connection, server: str, first: Address, last: Address) -> int:
    bounds = {"server": server, "first": first, "last": last}
    return connection.execute(_TAKEN, bounds).scalar_one()


def overlapping(
    connection: Connection, server: str, network: Network, besides: str = ""
) -> tuple[Network, str] | None:
    """Find what of a peer, `besides` one by name, overlaps a network; return it and the name.

    A default route counts only beside another one.
    """
    searches = [(_LAST_BEFORE, network.broadcast_address)] if network.prefixlen > 0 else []
    if int(network.network_address) == 0:  # where a default route begins, too
        searches.append((_SAME_START, network.network_address))
    for statement, end in searches:
        row = connection.execute(
            statement, {"server": server, "end": end, "besides": besides}
        ).one_or_none()
        if row is not None:
            found = ip_network((row.address, row.prefix_length))
            if not _coexist(found, network):
                return found, row.name
    return None


def _coexist(one: Network, other: Network) -> bool:
    """Whether peers may have both: the longest prefix wins, so a default route is all the rest.

    They must not begin alike: the store knows networks by that.
    """
    if one.network_address == other.network_address:
        return False
    return 0 in {one.prefixlen, other.prefixlen} or not one.overlaps(other)
