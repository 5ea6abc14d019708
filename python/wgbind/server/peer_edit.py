"""The smallest change that gives a device the peers that it should have; pure."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wgbind.keys import PresharedKey, PublicKey
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


def peer_edits(
    desired: Iterable[Peer],
    applied: Mapping[PublicKey, Peer],
    present: Iterable[DevicePeer],
) -> list[PeerEdit]:
    """Compute the smallest change that gives the device the desired peers.

    Args:
        desired: The peers of the store.
        applied: The peers that an earlier change of ours gave the device. Only these are removed
            when the store drops them: who added another one with `wg set` keeps it.
        present: The peers that the device has. Where somebody changed one of ours by hand, the
            store wins; its endpoint alone is left as it is, for peers roam.

    Returns:
        The removals first, so that their addresses are free for the others.
    """
    found = {peer.public_key: peer for peer in present}
    wanted = {peer.public_key: peer for peer in desired}
    removals = [
        PeerEdit(public_key=key, remove=True)
        for key in applied
        if key not in wanted and key in found
    ]
    changes = [
        edit
        for key, peer in wanted.items()
        if len(edit := _edit(peer, applied.get(key), found.get(key))) > 1
    ]
    return removals + changes


def _edit(wanted: Peer, applied: Peer | None, found: DevicePeer | None) -> PeerEdit:
    """Compare one peer; what differs stands beside the key."""
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

    known_ips = set() if found is None else {ip_network(text) for text in found.allowed_ips}
    if found is None or set(wanted.allowed_ips) != known_ips:
        edit["replace_allowed_ips"] = True
        edit["allowed_ips"] = [str(network) for network in wanted.allowed_ips]
    return edit
