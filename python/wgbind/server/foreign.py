"""What becomes of the store's peers when others changed the device; pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, TypeAlias

from wgbind.errors import InputError, WgbindError
from wgbind.server.surroundings import Surroundings
from wgbind.store.ipam import require_permitted
from wgbind.store.occupancy import Occupancy, split
from wgbind.store.peer import PeerChanges, normal, require_valid
from wgbind.store.told import new_peer
from wgbind.wg_quick.friendly_name import free_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from wgbind._native import PeerStatus
    from wgbind.keys import PresharedKey, PublicKey
    from wgbind.settings.address import InterfaceAddress, Network
    from wgbind.store.peer import Peer

_Told: TypeAlias = "tuple[PresharedKey | None, int, frozenset[Network]]"


@dataclass
class Outcome:
    """What becomes of the store.

    Attributes:
        peers: All peers of the server.
        added, changed, removed: Who is new, other and gone, by name.
        refused: Why somebody new is not in the store, by whom it is about.
        undone: What of others' changes the server takes back, and why.
        given: What the device has of whom it is now the server's to change or to remove: as if the
            server had given it.
        gone: Whom the device has no more.
    """

    peers: list[Peer] = field(default_factory=list)
    added: list[Peer] = field(default_factory=list)
    changed: list[Peer] = field(default_factory=list)
    removed: list[Peer] = field(default_factory=list)
    refused: dict[PublicKey, str] = field(default_factory=dict)
    undone: list[str] = field(default_factory=list)
    given: list[Peer] = field(default_factory=list)
    gone: list[PublicKey] = field(default_factory=list)


@dataclass(frozen=True)
class Foreign:
    """What the device is after others changed it.

    Attributes:
        touched: Whom they added, changed or removed, and whether they gave an endpoint.
        found: Those of them that the device has now.
        applied: What the server gave the device before, as the reconciler keeps it.
    """

    touched: Mapping[PublicKey, bool]
    found: Mapping[PublicKey, PeerStatus]
    applied: Mapping[PublicKey, Peer]


def adopt(
    server: str,
    stored: Sequence[Peer],
    foreign: Foreign,
    pools: Sequence[InterfaceAddress],
    now: datetime,
) -> Outcome:
    """Take into the store what others changed on the device, peer by peer and field by field.

    Compared are what the server gave the device, what the device has, and what the store says.
    What differs from what was given was changed: by others on the device, by somebody in the
    store; where both changed the same of a peer, the store wins. Who is disabled or expired stays
    so. A prefix is of who claimed it last, as WireGuard has it.
    """
    outcome = Outcome()
    by_key = {peer.public_key: peer for peer in stored}
    surroundings = Surroundings(
        (pool.network for pool in pools), (peer for peer in stored if peer.served(now))
    )
    candidates: list[tuple[Peer, Peer | None]] = []
    names = {peer.name for peer in stored}
    touched = {**dict.fromkeys(_bereft(stored, foreign), False), **foreign.touched}
    for key, endpoint in touched.items():
        peer, found, base = by_key.get(key), foreign.found.get(key), foreign.applied.get(key)
        if found is None:
            outcome.gone.append(key)
            # Whoever the device was never given, nobody took from it.
            if (
                peer is not None
                and base is not None
                and _told(peer, surroundings) == _told(base, surroundings)
            ):
                outcome.removed.append(by_key.pop(key))
        elif peer is None:
            if base is None:
                name = free_name(None, key, names)
                new = new_peer(found, map(ip_network, found.allowed_ips), server, name, pools, now)
                new = normal(replace(new, description="added with wg"))
                names.add(new.name)
                candidates.append((new, None))
        elif not peer.served(now):
            outcome.given.append(_given(peer, found, peer.endpoint))
            outcome.undone.append(
                f"peer {peer.name}: it is {'expired' if peer.enabled else 'disabled'}, and wg"
                " does not change that; `wgbind peer enable` does"
            )
        elif base is not None:
            merged = _merged(peer, found, base, endpoint, pools, surroundings)
            told = merged if merged.endpoint != peer.endpoint else base
            outcome.given.append(_given(base, found, told.endpoint))
            if merged != peer:
                candidates.append((merged, peer))
    _admit(candidates, by_key, pools, outcome)
    outcome.peers = list(by_key.values())
    return outcome


def _admit(
    candidates: Sequence[tuple[Peer, Peer | None]],
    by_key: dict[PublicKey, Peer],
    pools: Sequence[InterfaceAddress],
    outcome: Outcome,
) -> None:
    """Give those what they are to have for whom there is room, and note what becomes of them."""
    changing = {old.public_key for _, old in candidates if old is not None}
    occupancy = Occupancy(peer for key, peer in by_key.items() if key not in changing)
    for candidate, old in candidates:
        try:
            _require_room(candidate, old, occupancy, pools)
        except WgbindError as error:
            reason = f"peer {candidate.name}, by wg: {error}"
            if old is None:
                outcome.refused[candidate.public_key] = reason
            else:
                outcome.undone.append(reason)
                occupancy.add(old.allowed_ips, old.name)
            continue
        by_key[candidate.public_key] = candidate
        if old is None:
            outcome.given.append(candidate)
        (outcome.added if old is None else outcome.changed).append(candidate)


def _bereft(stored: Iterable[Peer], foreign: Foreign) -> Iterator[PublicKey]:
    """Yield who lost what others gave somebody else: nobody touched these themselves."""
    gained: set[Network] = set()
    for key in foreign.touched.keys() & foreign.found.keys():
        base = foreign.applied.get(key)
        had = frozenset(() if base is None else base.allowed_ips)
        gained |= set(map(ip_network, foreign.found[key].allowed_ips)) - had
    for peer in stored if gained else ():
        key = peer.public_key
        if (
            key not in foreign.touched
            and key in foreign.found
            and not gained.isdisjoint(peer.allowed_ips)
        ):
            yield key


def _merged(
    peer: Peer,
    found: PeerStatus,
    base: Peer,
    endpoint: bool,
    pools: Sequence[InterfaceAddress],
    surroundings: Surroundings,
) -> Peer:
    """Return the store's peer with what others changed of it, where the store did not."""
    changes = PeerChanges()
    if found.preshared_key != base.preshared_key and peer.preshared_key == base.preshared_key:
        changes["preshared_key"] = found.preshared_key
    if (
        found.persistent_keepalive != base.persistent_keepalive
        and peer.persistent_keepalive == base.persistent_keepalive
    ):
        changes["persistent_keepalive"] = found.persistent_keepalive
    # A base without one was given a name that did not resolve.
    if endpoint and found.endpoint is not None and base.endpoint in {peer.endpoint, None}:
        changes["endpoint"] = found.endpoint
    given = frozenset(surroundings.given(base).allowed_ips)
    has = frozenset(map(ip_network, found.allowed_ips))
    if has != given and given == frozenset(surroundings.given(peer).allowed_ips):
        networks = surroundings.whole(has, peer.routed_networks)
        changes["addresses"], changes["routed_networks"] = split(networks, pools)
    return normal(replace(peer, **changes))


def _given(peer: Peer, found: PeerStatus, endpoint: tuple[str, int] | None) -> Peer:
    """A peer as if the server had given it to the device with what the device has."""
    return replace(peer, preshared_key=found.preshared_key, endpoint=endpoint)


def _told(peer: Peer, surroundings: Surroundings) -> _Told:
    """What the device is told of a peer, but for its endpoint: that moves with the peer."""
    given = surroundings.given(peer)
    return given.preshared_key, given.persistent_keepalive, frozenset(given.allowed_ips)


def _require_room(
    peer: Peer, old: Peer | None, occupancy: Occupancy, pools: Sequence[InterfaceAddress]
) -> None:
    """Take a peer's addresses if it can be in the store; raise `WgbindError` else."""
    require_valid(peer)
    require_permitted(peer, pools, old)
    for network in peer.allowed_ips:
        holder = occupancy.holder(network)
        if holder is not None:
            raise InputError(f"{network} belongs to peer {holder}; choose another")
    occupancy.add(peer.allowed_ips, peer.name)
