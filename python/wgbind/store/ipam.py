"""Which addresses a peer may have (IP address management).

All of it runs inside a write transaction, so what it finds free stays free.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network
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
        allowed_ip_table.c.routed.is_(False),
    )
    .order_by(allowed_ip_table.c.address)
    .limit(1)
)

_ROUTED = select(allowed_ip_table.c.address, allowed_ip_table.c.prefix_length).where(
    allowed_ip_table.c.server == bindparam("server"),
    allowed_ip_table.c.address.between(bindparam("first"), bindparam("last")),
    allowed_ip_table.c.prefix_length > bindparam("longer_than"),
    allowed_ip_table.c.routed.is_(True),
)

_HOLDER = (
    select(peer_table.c.name)
    .join_from(allowed_ip_table, peer_table)
    .where(
        allowed_ip_table.c.server == bindparam("server"),
        allowed_ip_table.c.address == bindparam("address"),
        allowed_ip_table.c.prefix_length == bindparam("prefix_length"),
        peer_table.c.name != bindparam("besides"),
    )
)


ALL = PoolSettings()
"""To give out whatever is free."""


def free_addresses(
    connection: Connection,
    server: str,
    pool: InterfaceAddress,
    limits: PoolSettings = ALL,
    own: Iterable[Address] = (),
) -> Iterator[Address]:
    """Give the free addresses of the network that the server is in with address `pool`, in order.

    It may be there with more of its `own` addresses. They are free so long as nothing else is given
    out. Raises `ConflictError` after the last one.
    """
    family = type(pool.ip)
    holes = [*_routed(connection, server, pool.network), *_singles(own, pool)]
    for first, last in _usable(pool, limits, holes):
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
    connection: Connection,
    server: str,
    pool: InterfaceAddress,
    limits: PoolSettings = ALL,
    own: Iterable[Address] = (),
) -> int:
    """Count what `free_addresses` would give."""
    family = type(pool.ip)
    holes = [*_routed(connection, server, pool.network), *_singles(own, pool)]
    return sum(
        last - first + 1 - _count_taken(connection, server, family(first), family(last))
        for first, last in _usable(pool, limits, holes)
    )


def require_free(
    peer: Peer,
    pools: Sequence[InterfaceAddress],
    old: Peer | None,
    find: Callable[[Network], str | None],
) -> None:
    """Refuse addresses and networks that a peer cannot have or another one has.

    `old` is the peer before a change; what it had may lie outside `pools`, which may have changed.
    `find` names the other peer who has exactly a prefix. Raises `PeerError` and `ConflictError`.
    """
    require_permitted(peer, pools, old)
    for network in peer.routed_networks:
        if old is None or network not in old.routed_networks:
            _require_beyond(network, pools)
    for network, times in Counter(peer.allowed_ips).items():
        if times > 1:
            raise PeerError(f"{network} is given twice; leave one of them out")
        owner = find(network)
        if owner is not None:
            single = network.prefixlen == network.max_prefixlen
            raise ConflictError(
                f"{network.network_address if single else network} belongs to peer {owner!r} of "
                f"{peer.server}; choose another"
            )


def require_permitted(peer: Peer, pools: Sequence[InterfaceAddress], old: Peer | None) -> None:
    """Refuse what no peer of the server can have; arguments and errors as of `require_free`.

    `wg` and files of wg-quick may give a peer what is in the tunnel's own networks, or around them:
    that is what the operator says, and of these addresses it has those that nobody else has.
    """
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
    if any(address == each.ip for each in pools):
        raise PeerError(f"address {address} is the server's own; use another in {pool.network}")
    if address in reserved(pool.network):
        raise PeerError(f"address {address} is reserved; use another in {pool.network}")


def _require_routable(network: Network, pools: Sequence[InterfaceAddress]) -> None:
    try:
        require_tunnel_network(network)
    except InputError as error:
        raise PeerError(f"routed network {error}") from None
    if any(network == alone(pool.ip) for pool in pools):
        raise PeerError(f"routed network {network} is the server's own address; leave it out")


def _require_beyond(network: Network, pools: Sequence[InterfaceAddress]) -> None:
    """Refuse a part of the tunnel's networks: as a rule it is there by mistake."""
    for pool in pools:
        if network.prefixlen > 0 and network.overlaps(pool.network):
            raise ConflictError(
                f"routed network {network} overlaps the server's own {pool.network}; "
                "name only what is beyond the peer"
            )


def _usable(
    pool: InterfaceAddress, limits: PoolSettings, more: Iterable[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """The ranges of addresses in a pool that are given out, lowest first, apart from each other."""
    network = pool.network
    whole = (int(network.network_address), int(network.broadcast_address))
    wanted = sorted(_inside(network, limits.ranges)) or [whole]
    holes = sorted(
        [
            *((int(address), int(address)) for address in (pool.ip, *reserved(network))),
            *_inside(network, limits.reserved),
            *more,
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


def _singles(own: Iterable[Address], pool: InterfaceAddress) -> Iterator[tuple[int, int]]:
    return ((int(each), int(each)) for each in own if each.version == pool.version)


def _inside(network: Network, ranges: Iterable[AddressRange]) -> Iterator[tuple[int, int]]:
    return ((int(each.first), int(each.last)) for each in ranges if each.within(network))


def _lowest_free(
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


def _routed(connection: Connection, server: str, network: Network) -> list[tuple[int, int]]:
    """Return the parts of a tunnel's network that are behind peers: nobody gets an address there.

    Who has all of it has what the others leave.
    """
    bounds = {"first": network.network_address, "last": network.broadcast_address}
    found = connection.execute(
        _ROUTED, {"server": server, "longer_than": network.prefixlen, **bounds}
    )
    parts = (ip_network((row.address, row.prefix_length)) for row in found)
    return [(int(each.network_address), int(each.broadcast_address)) for each in parts]


def holder(connection: Connection, server: str, network: Network, besides: str) -> str | None:
    """Find who has exactly this prefix, `besides` one peer, by name."""
    name: str | None = connection.execute(
        _HOLDER,
        {
            "server": server,
            "address": network.network_address,
            "prefix_length": network.prefixlen,
            "besides": besides,
        },
    ).scalar_one_or_none()
    return name
