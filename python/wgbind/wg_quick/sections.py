"""What several sections [Peer] come to together, as `wg setconf` has it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wgbind.keys import PublicKey
    from wgbind.settings.address import Network
    from wgbind.wg_quick.file import PeerEntry

# What stays of an earlier section of the same peer unless the later one says it.
_STAYING = {
    "PresharedKey": "preshared_key",
    "Endpoint": "endpoint",
    "PersistentKeepalive": "persistent_keepalive",
}


def settle(
    sections: Sequence[PeerEntry], own: PublicKey | None, name: str
) -> tuple[tuple[PeerEntry, ...], tuple[str, ...]]:
    """Give each peer one entry, and each prefix to one peer.

    Two sections with one key are one peer: the later one replaces the allowed IPs, and of the rest
    what it says. A prefix is of the last who claims it. Sections that are switched off are no
    sections for wg(8): who else says the same is right. `own` is the interface's own key, which wg
    passes over as a peer; `name` is the file's. Returns the peers in the file's order, and what to
    know ("FILE:LINE: ...").
    """
    remarks: list[tuple[int, str]] = []
    peers: dict[PublicKey, PeerEntry] = {}
    claims: dict[Network, PublicKey] = {}
    for section in sorted(sections, key=lambda each: each.enabled):
        key, line = section.public_key, section.line
        if key == own:
            remarks.append((line, f"[Peer]: {key} is the interface's own key; wg passes it over"))
            continue
        found = section
        first = peers.get(key)
        if first is not None:
            found, remark = _together(first, section)
            remarks.append(remark)
            for network in [network for network, owner in claims.items() if owner == key]:
                del claims[network]
        claims |= dict.fromkeys(found.allowed_ips, key)
        peers[key] = found
    for key, peer in peers.items():
        kept = tuple(network for network in peer.allowed_ips if claims.get(network) == key)
        for network in peer.allowed_ips if len(kept) < len(peer.allowed_ips) else ():
            winner = peers.get(claims.get(network, key))
            if winner is not peer:
                to = "" if winner is None else f" in line {winner.line}"
                text = f"AllowedIPs: {network} goes to the peer{to} that claims it, too"
                remarks.append((peer.line, text))
        peers[key] = replace(peer, allowed_ips=kept)
    return (
        tuple(sorted(peers.values(), key=lambda each: each.line)),
        tuple(f"{name}:{line}: {text}" for line, text in sorted(remarks)),
    )


def _together(first: PeerEntry, section: PeerEntry) -> tuple[PeerEntry, tuple[int, str]]:
    """Put two sections of one peer together; return what to know of it, too."""
    same = f"[Peer]: {first.public_key} is in line {section.line}, too"
    if first.enabled != section.enabled:
        return section, (first.line, f"{same}; what is switched off here is left out")
    staying = {
        attribute: getattr(first, attribute)
        for key, attribute in _STAYING.items()
        if key not in section.given
    }
    both = replace(
        section,
        line=first.line,
        comments=(*first.comments, *section.comments),
        given=first.given | section.given,
        layout=(*first.layout, *section.layout),
        **staying,
    )
    return both, (first.line, f"{same}; what is said there counts")
