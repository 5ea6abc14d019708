"""The smallest change that gives a device the peers that it should have; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Protocol, TypedDict

from wgbind.settings.prefixes import subtract

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
    address that the old rules allow something, nor still one that the new rules do.
    """

    taken: list[PeerEdit]
    given: list[PeerEdit]


def device_peer(peer: Peer, own: Iterable[Network]) -> Peer:
    """Return a peer as the device is told it: a default route leaves out the server's networks.

    An address there that no peer has would else be the exit's, to receive and to send from.
    """
    defaults = [network for network in peer.routed_networks if network.prefixlen == 0]
    if not defaults:
        return peer
    others = (network for network in peer.routed_networks if network.prefixlen > 0)
    return replace(peer, routed_networks=(*others, *subtract(defaults, own)))


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
    for key, peer in found.items():
        if key in applied and key not in wanted:
            taken.append(PeerEdit(public_key=key, remove=True))
            continue
        # The device may write a prefix in another way.
        texts = [text if text in owners else str(ip_network(text)) for text in peer.allowed_ips]
        # Who was added with `wg set` has what the store gives to nobody.
        default = None if key in wanted else key
        kept[key] = [text for text in texts if owners.get(text, default) == key]
        if len(kept[key]) < len(texts):
            taken.append(_replacement(key, kept[key]))
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


def _allowed_ips(peer: Peer) -> list[str]:
    """Write down `Peer.allowed_ips`, without making networks of the addresses."""
    addresses = [f"{address}/{address.max_prefixlen}" for address in peer.addresses]
    return addresses + [str(network) for network in peer.routed_networks]


def _replacement(key: PublicKey, allowed_ips: list[str]) -> PeerEdit:
    return PeerEdit(public_key=key, replace_allowed_ips=True, allowed_ips=allowed_ips)
