"""The smallest change that gives a device the peers that it should have; pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Protocol, TypedDict

from wgbind.settings.prefixes import Nest, subtract

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wgbind.keys import PresharedKey, PublicKey
    from wgbind.settings.address import Network
    from wgbind.store.peer import Peer


class PeerEdit(TypedDict, total=False):
    """The arguments of one `PeerChange`."""

    public_key: PublicKey
    remove: bool
    preshared_key: PresharedKey
    clear_preshared_key: bool
    endpoint: tuple[str, int]
    persistent_keepalive: int
    replace_allowed_ips: bool
    allowed_ips: list[str]


class DevicePeer(Protocol):
    """What the comparison needs of a peer that the device has: `PeerStatus` is one."""

    @property
    def public_key(self) -> PublicKey:
        """Who it is."""

    @property
    def has_preshared_key(self) -> bool:
        """Whether a preshared key is mixed in."""

    @property
    def allowed_ips(self) -> Sequence[str]:
        """Its prefixes, as text."""

    @property
    def persistent_keepalive(self) -> int:
        """Seconds; 0 is off."""


@dataclass(frozen=True)
class PeerEdits:
    """A change of the peers in two steps: what is taken from them, and what is given to them.

    Between the two the firewall changes. It goes by addresses, so a peer must not yet have an
    address that the old rules allow something, nor still one that the new rules do. What changes
    hands is nobody's then: not of who has what is around it, either.
    """

    taken: list[PeerEdit]
    given: list[PeerEdit]


def peer_edits(
    desired: Iterable[Peer],
    applied: Mapping[PublicKey, Peer],
    present: Iterable[DevicePeer],
) -> PeerEdits:
    """Compute the smallest change that gives the device the desired peers.

    Args:
        desired: The peers of the store.
        applied: The peers that an earlier change of ours gave the device. Only these are removed
            when the store drops them: who added another one with `wg set` keeps it.
        present: The peers that the device has. Where somebody changed one of ours by hand, the
            store wins; its endpoint alone is left as it is, for peers roam.
    """
    found = {peer.public_key: peer for peer in present}
    wanted = {peer.public_key: peer for peer in desired}
    # As text: ten thousand peers' networks take a second to parse and to compare.
    wanted_ips = {key: _allowed_ips(peer) for key, peer in wanted.items()}
    owners = {text: key for key, texts in wanted_ips.items() for text in texts}
    taken: list[PeerEdit] = []
    kept: dict[PublicKey, list[str]] = {}
    held: dict[str, PublicKey] = {}
    changed: set[PublicKey] = set()
    for key, peer in found.items():
        # The device may write a prefix in another way.
        texts = [text if text in owners else str(ip_network(text)) for text in peer.allowed_ips]
        held.update(dict.fromkeys(texts, key))
        if key in applied and key not in wanted:
            taken.append(PeerEdit(public_key=key, remove=True))
            continue
        # Who was added with `wg set` has what the store gives to nobody.
        default = None if key in wanted else key
        kept[key] = [text for text in texts if owners.get(text, default) == key]
        if len(kept[key]) < len(texts):
            changed.add(key)
    staying = {text: key for key, texts in kept.items() for text in texts}
    for network, pieces in _carved(held, owners, staying).items():
        key = staying[network]
        kept[key] = [text for text in kept[key] if text != network] + pieces
        changed.add(key)
    taken += [_replacement(key, kept[key]) for key in found if key in changed]
    given = []
    for key, allowed_ips in wanted_ips.items():
        edit = _edit(wanted[key], applied.get(key), found.get(key))
        if set(allowed_ips) != set(kept.get(key, ())):
            edit |= _replacement(key, allowed_ips)
        if len(edit) > 1:
            given.append(edit)
    return PeerEdits(taken, given)


def _edit(wanted: Peer, applied: Peer | None, found: DevicePeer | None) -> PeerEdit:
    """Compare all of one peer but its allowed IPs; what differs stands beside the key."""
    edit = PeerEdit(public_key=wanted.public_key)
    if wanted.preshared_key is None:
        if found is not None and found.has_preshared_key:
            edit["clear_preshared_key"] = True
    elif (
        found is None
        or not found.has_preshared_key
        or applied is None
        or wanted.preshared_key != applied.preshared_key
    ):
        edit["preshared_key"] = wanted.preshared_key

    known_endpoint = None if found is None or applied is None else applied.endpoint
    if wanted.endpoint is not None and wanted.endpoint != known_endpoint:
        edit["endpoint"] = wanted.endpoint

    if wanted.persistent_keepalive != (0 if found is None else found.persistent_keepalive):
        edit["persistent_keepalive"] = wanted.persistent_keepalive
    return edit


def _carved(
    before: Mapping[str, PublicKey],
    after: Mapping[str, PublicKey],
    staying: Mapping[str, PublicKey],
) -> dict[str, list[str]]:
    """Cut out of the prefixes that stay what changes hands within them; return what is left.

    That goes from the longest around it on: what one leaves out, the next one would have.
    """
    wide = (text for text in staying if not text.endswith(("/32", "/128")))
    nest = Nest(map(ip_network, wide))
    if not nest:
        return {}
    holes: defaultdict[Network, set[Network]] = defaultdict(set)
    for text in (before.keys() | after.keys()) - staying.keys():
        hole = ip_network(text)
        for number, network in enumerate(nest.around(hole)):
            owner = {staying[str(network)]}
            if number == 0 and {before.get(text), after.get(text)} - {None} == owner:
                break
            holes[network].add(hole)
            hole = network
    return {
        str(network): [
            piece for piece in map(str, subtract([network], inside)) if piece not in staying
        ]
        for network, inside in holes.items()
    }


def _allowed_ips(peer: Peer) -> list[str]:
    """Write down `Peer.allowed_ips`, without making networks of the addresses."""
    addresses = [f"{address}/{address.max_prefixlen}" for address in peer.addresses]
    return addresses + [str(network) for network in peer.routed_networks]


def _replacement(key: PublicKey, allowed_ips: list[str]) -> PeerEdit:
    return PeerEdit(public_key=key, replace_allowed_ips=True, allowed_ips=allowed_ips)
