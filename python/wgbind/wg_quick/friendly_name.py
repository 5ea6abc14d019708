"""Names that tools and people put into comments, and those that peers get without one."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING

from wgbind.settings.reference import PEER_NAME

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from wgbind.keys import PublicKey

_LONGEST = 63

# The group is the name.
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"#+ *friendly_name *= *(.+)",  # prometheus_wireguard_exporter, wireguard-tools (Python)
        r"# *BEGIN_PEER +(.+)",  # Nyr's and hwdsl2's wireguard-install
        r"### *Client +(.+)",  # angristan's wireguard-install
        r"### *begin +(.+?) *###",  # PiVPN
        r"# *Client: *(.+?)(?: *\([^()]*\))?",  # wg-easy, with an id behind it
        r"#+ *(?:name|alias|client|peer|user|device|host|hostname) *[:=] *(.+)",
        r"# *(peer_?[a-z0-9]+)",  # linuxserver/wireguard
    )
)
_JSON = re.compile(r"#+ *friendly_json *= *(\{.*\})", re.IGNORECASE)

# Where it stands before the header of its peer, for the tool that wrote it.
_BEFORE = re.compile(r"# *BEGIN_PEER\b.*|### *(Client|begin)\b.*|# *Client:.*", re.IGNORECASE)


def find_name(comments: Sequence[str]) -> str | None:
    """Find the name that comments give a peer, as it is written there."""
    for pattern in _PATTERNS:
        for comment in comments:
            match = pattern.fullmatch(comment)
            if match is not None:
                return match[1].strip()
    for comment in comments:
        match = _JSON.fullmatch(comment)
        if match is not None and (name := _name_in(match[1])) is not None:
            return name
    # People write a word above the peer.
    word = comments[0].strip("# ") if comments else ""
    return word if PEER_NAME.fullmatch(word) else None


def stands_before(comment: str) -> bool:
    """Tell whether a comment stands before the header of the peer that it names."""
    return _BEFORE.fullmatch(comment) is not None


def peer_name(text: str) -> str | None:
    """Make of a name as people write it one that a peer can have; None if nothing is left."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-zA-Z0-9_.@+-]+", "-", ascii_text).strip("-")
    name = re.sub(r"^[^a-zA-Z0-9]+", "", name)[:_LONGEST]
    return name or None


def free_name(wanted: str | None, public_key: PublicKey, taken: Container[str]) -> str:
    """Return a name that is not `taken`: the one that is wanted, else one of its key."""
    if wanted is None:
        text = str(public_key).rstrip("=").replace("/", "_")
        return next(
            name
            for length in range(8, len(text) + 1)
            if (name := f"wg-{text[:length]}") not in taken
        )
    name, number = wanted, 1
    while name in taken:
        number += 1
        tail = f"-{number}"
        name = wanted[: _LONGEST - len(tail)] + tail
    return name


def _name_in(text: str) -> str | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    named = (found.get(key) for key in ("name", "friendly_name", "username", "user_name"))
    return next((name for name in named if isinstance(name, str) and name), None)
