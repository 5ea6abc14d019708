"""What the chains of a table are built from: the policy, and names in place of its peers."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from wgbind.firewall.expression import Expression, counter
from wgbind.firewall.table import Chain, Hook, Rule, Set

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wgbind.firewall.expression import Version
    from wgbind.firewall.policy import Marks
    from wgbind.firewall.population import Whose
    from wgbind.settings.address import Address, InterfaceAddress
    from wgbind.settings.forward import Forward
    from wgbind.settings.policy import PolicySettings
    from wgbind.settings.rule import Rule as PolicyRule

REASONS = (
    "spoofed",
    "invalid",
    "over_limit",
    "to_host",
    "to_peers",
    "to_networks",
    "from_networks",
    "from_host",
)
"""Counters of packets dropped: for a source address that no peer has, for what connection tracking
makes nothing of, for more new connections than a peer may begin, or because no rule allows it,
by its way."""


@dataclass(frozen=True)
class Frame:
    """All that chains depend on; peers come and go in the sets that they look up.

    Attributes:
        interface: The tunnel's interface.
        addresses: The server's own addresses in the tunnel.
        egress: The interfaces to the internet; None for any but the tunnel's.
        settings: The section [policy].
        rules: The operator's, and then the presets'.
        nat: Whether peers appear with this host's address, for each named network.
        members: The sets with the addresses of a group or peer.
        sources: The set of addresses that packets from the tunnel can have.
        targets: The forwards, and where each leads: at most one address of an IP version.
        marks: For connections with a way of their own.
    """

    interface: str
    addresses: tuple[InterfaceAddress, ...]
    egress: tuple[str, ...] | None
    settings: PolicySettings
    rules: tuple[PolicyRule, ...]
    nat: Mapping[str, bool]
    members: Mapping[Whose, tuple[str, ...]]
    sources: Mapping[Version, str]
    targets: tuple[tuple[Forward, tuple[Address, ...]], ...]
    marks: Marks


class Builder:
    """Collects chains, and the sets and counters that their rules use."""

    def __init__(self) -> None:
        self.chains: dict[str, Chain] = {}
        self.sets: dict[str, Set] = {}
        self.counters: set[str] = set(REASONS)

    def base(self, name: str, hook: Hook, rules: Iterable[Rule]) -> None:
        """Add a chain that stands in a hook."""
        self.chains[name] = Chain(tuple(rules), hook)

    def chain(self, label: str, rules: Iterable[Rule]) -> str:
        """Add a chain that rules jump to and return its name."""
        chain = Chain(tuple(rules))
        digest = sha256()
        for rule in chain.rules:
            digest.update(rule.expressions + b"\0" + rule.comment.encode() + b"\0")
        name = _named(label, digest.digest())
        self.chains[name] = chain
        return name

    def constant(self, label: str, content: Set) -> str:
        """Add a set that never changes and return its name."""
        name = constant_name(label, content)
        self.sets[name] = content
        return name

    def counter(self, name: str) -> Expression:
        """Add a counter and return the statement that counts."""
        self.counters.add(name)
        return counter(name)


def constant_name(label: str, content: Set) -> str:
    """Return the name of a set that never changes: another content has another name."""
    said = repr((content.key, sorted(content.elements), content.ranges, content.memory))
    return _named(label, sha256(said.encode()).digest())


def counter_name(rule: PolicyRule | Forward) -> str:
    """Return the name of a rule's counter: it stays when the rule moves, or gets a name."""
    return f"rule/{sha256(str(rule).encode()).hexdigest()[:16]}"


def identifier(text: str) -> str:
    """Write a name so that nft reads it: its names have letters, digits and "/-_.".

    Those of interfaces and peers never have "/", which so can stand for the code of the others.
    """
    return "".join(
        char if char.isascii() and (char.isalnum() or char in "-_.") else f"/{ord(char):02x}"
        for char in text
    )


def _named(label: str, digest: bytes) -> str:
    return f"{label}/{digest.hex()[:12]}"
