"""Commands of hooks whose work a preset of wgbind's policy does: NAT and forwarding."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Work: TypeAlias = Literal["gateway", "hub", "forwarding", "port"]
"""A preset, IP forwarding, or that the server's own port is open."""

DONE_BY: dict[Work, str] = {
    "gateway": 'preset "gateway" does the same',
    "hub": 'preset "hub" does the same',
    "forwarding": "wgbind switches forwarding on and off itself",
    "port": "wgbind's firewall does not close the server's port",
}

_TABLES = r"\bip6?tables(-\w+)? .*"
_ADDED = r"(-A|-I|--append|--insert) "

_PATTERNS: tuple[tuple[str, Work], ...] = (
    (_TABLES + _ADDED + r"POSTROUTING .*(-j|--jump) (MASQUERADE|SNAT)\b", "gateway"),
    (r"\bnft .*\b(masquerade|snat)\b", "gateway"),
    # From the tunnel to where no -o says otherwise: to other peers, too.
    (_TABLES + _ADDED + r"FORWARD (?!.*-o (?!%i))(?=.*-i %i).*(-j|--jump) ACCEPT\b", "hub"),
    (_TABLES + _ADDED + r"FORWARD .*%i.*(-j|--jump) ACCEPT\b", "gateway"),
    (_TABLES + _ADDED + r"INPUT .*--dport .*(-j|--jump) ACCEPT\b", "port"),
    (r"\bufw route allow .*%i", "gateway"),
    (r"\bsysctl .*forward(ing)?\s*=\s*1", "forwarding"),
    (r"\becho 1\s*>\s*/proc/sys/net/.*/(ip_)?forward(ing)?", "forwarding"),
)


def commands(hook: str) -> list[str]:
    """Take the line of a hook apart into its commands."""
    return [part.strip() for part in re.split(r";|&&|\|\|", hook) if part.strip()]


def work(command: str, interface: str) -> Work | None:
    """Tell what of wgbind does the work of a command; None if nothing is known to."""
    text = re.sub(rf"\b{re.escape(interface)}\b", "%i", command)
    text = re.sub(r"\s+", " ", text).replace("-t nat ", "").replace("-w ", "")
    return next((found for pattern, found in _PATTERNS if re.search(pattern, text)), None)


def presets(works: Iterable[Work]) -> tuple[Literal["gateway", "hub"], ...]:
    """Return the presets that do it all, in their usual order."""
    found = set(works)
    names: tuple[Literal["gateway", "hub"], ...] = ("gateway", "hub")
    return tuple(name for name in names if name in found)
