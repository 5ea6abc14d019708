"""Whom a rule speaks of: a zone, a group, a peer, a named network, an address."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_network
from typing import TYPE_CHECKING, Literal, TypeAlias

from wgbind.errors import InputError
from wgbind.settings.address import Network, parse_address, parse_network

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wgbind.settings.service import Service

Zone: TypeAlias = Literal["host", "tunnel", "outside"]
"""Where an end of a packet's way is: this host itself, behind the tunnel, or anywhere else."""

Kind: TypeAlias = Literal["any", "host", "peers", "internet", "group", "network", "peer", "prefix"]

ZONES: dict[Kind, frozenset[Zone]] = {
    "any": frozenset({"host", "tunnel", "outside"}),
    "host": frozenset({"host"}),
    "peers": frozenset({"tunnel"}),
    "internet": frozenset({"outside"}),
    "group": frozenset({"tunnel"}),
    "network": frozenset({"outside"}),
    "peer": frozenset({"tunnel"}),
    "prefix": frozenset({"host", "tunnel", "outside"}),
}
"""Where that which a reference names can be."""

WORDS: tuple[Kind, ...] = ("any", "host", "internet", "peers")

NAME_PATTERN = "^[a-z][a-z0-9_-]{0,30}$"
"""Names of groups, networks and services, as a regular expression of JSON Schema, too."""

_RESERVED = frozenset({*WORDS, "allow", "deny", "group", "log", "masquerade", "net", "peer"})

# No "=" and no "/": a name is never mistaken for a key in base64.
PEER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.@+-]{0,62}")


def parse_name(text: str, kind: str) -> str:
    """Return `text` if a group, network or service may have that name; raise `InputError`.

    `kind` says which of them, for the message.
    """
    if re.fullmatch(NAME_PATTERN, text) is None:
        raise InputError(
            f"{kind} {text!r}: use 1 to 31 of the characters a-z 0-9 _ - and begin with a letter"
        )
    if text in _RESERVED:
        raise InputError(f"{kind} {text!r}: rules use this word themselves; choose another name")
    return text


def parse_peer_name(text: str) -> str:
    """Return `text` if a peer may have that name; raise `InputError`."""
    if PEER_NAME.fullmatch(text) is None:
        raise InputError(
            f"peer name {text!r}: use 1 to 63 of the characters a-z A-Z 0-9 _ . @ + - "
            "and begin with a letter or digit"
        )
    return text


@dataclass(frozen=True)
class Vocabulary:
    """The names that rules may use beside the words of the language."""

    groups: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    services: Mapping[str, tuple[Service, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """One end of a rule.

    `name` is that of the group, network or peer; `prefix` is what an address or prefix stands for.
    """

    kind: Kind
    name: str = ""
    prefix: Network | None = None

    @classmethod
    def parse(cls, text: str, vocabulary: Vocabulary) -> Reference:
        """Parse a word, a name, "peer:NAME", "group:NAME", "net:NAME", an address or a prefix.

        Raises `InputError`, also for a group or network that the vocabulary does not have.
        """
        for word in WORDS:
            if text == word:
                return cls(word)
        if not text:
            raise InputError("a name is missing before or behind a comma or the arrow")
        kind, colon, name = text.partition(":")
        if colon and kind == "peer":
            if PEER_NAME.fullmatch(name) is None:
                raise InputError(f"{text!r}: {name!r} is not the name of a peer, as in peer:alice")
            return cls("peer", name)
        if colon and kind == "group":
            return cls("group", _known(name, "group", vocabulary.groups))
        if colon and kind == "net":
            return cls("network", _known(name, "network", vocabulary.networks))
        if re.search(r"[.:/]", text):
            prefix = parse_network(text) if "/" in text else ip_network(parse_address(text))
            return cls("prefix", prefix=prefix)
        if text in vocabulary.groups:
            return cls("group", text)
        names = (*vocabulary.groups, *vocabulary.networks)
        return cls("network", _known(text, "group or network", names))

    def __str__(self) -> str:
        if self.prefix is not None:
            single = self.prefix.prefixlen == self.prefix.max_prefixlen
            return str(self.prefix.network_address if single else self.prefix)
        if self.kind == "peer":
            return f"peer:{self.name}"
        return self.name or self.kind


def require_groups(names: Iterable[str], groups: Sequence[str]) -> frozenset[str]:
    """Return names that are among `groups`; raise `InputError` for one that is not."""
    found = frozenset(names)
    for name in sorted(found):
        Reference.parse(f"group:{name}", Vocabulary(tuple(groups)))
    return found


def _known(name: str, kind: str, names: tuple[str, ...]) -> str:
    if name in names:
        return name
    near = get_close_matches(name, (*names, *WORDS), n=1, cutoff=0.7)
    if near:
        hint = f"did you mean {near[0]}?"
    else:
        places = {"group": "policy.groups", "network": "[policy.networks]"}
        place = places.get(kind, "policy.groups or [policy.networks]")
        hint = f"there are {', '.join(names) or 'none'}; name it in {place} first"
    raise InputError(f"there is no {kind} {name!r}; {hint}")
