"""The policy of one server, resolved: its settings beside its peers, addresses and ways out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Protocol

from wgbind.settings.address import alone
from wgbind.settings.paths import parse_interface_name
from wgbind.settings.reference import ZONES, Reference
from wgbind.settings.rule import CONCERNED, Rule
from wgbind.settings.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wgbind.settings.address import Address, InterfaceAddress, Network
    from wgbind.settings.forward import Forward
    from wgbind.settings.policy import PolicySettings, Preset
    from wgbind.settings.reference import Kind

ANY = Reference("any")
HOST = Reference("host")
INTERNET = Reference("internet")
PEERS = Reference("peers")
PING = Service("ping")


class Member(Protocol):
    """A peer, as far as the policy knows it."""

    @property
    def name(self) -> str:
        """Its name among the peers of the server."""

    @property
    def groups(self) -> frozenset[str]:
        """The groups it is in."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Its addresses in the tunnel."""

    @property
    def routed_networks(self) -> tuple[Network, ...]:
        """The networks behind it."""


@dataclass(frozen=True)
class Marks:
    """The marks of connections that leave by a way of their own, which routing rules know.

    Attributes:
        uplinks: For interfaces: of what other networks begin by them.
        groups: For groups: of what their peers begin; the first that a peer is in counts.
    """

    uplinks: tuple[tuple[str, int], ...] = ()
    groups: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Policy:
    """Who reaches whom through the tunnel of one server.

    Attributes:
        interface: The tunnel's interface.
        addresses: The server's own addresses in the tunnel.
        egress: The interfaces to the internet; None for any but the tunnel's.
        settings: The section [policy].
        members: The peers.
        marks: For connections with a way of their own.

    Raises `InputError` for an interface's name that is none.
    """

    interface: str
    addresses: tuple[InterfaceAddress, ...]
    egress: tuple[str, ...] | None
    settings: PolicySettings
    members: tuple[Member, ...] = ()
    marks: Marks = Marks()

    def __post_init__(self) -> None:
        for name in (self.interface, *(self.egress or ())):
            parse_interface_name(name)

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The operator's rules in order, then the presets', named so; the first match decides."""
        return (*self.settings.rules, *preset_rules(self.settings))

    @cached_property
    def networks(self) -> tuple[Reference, ...]:
        """The named networks, as rules call them."""
        return tuple(Reference("network", name) for name in self.settings.networks)

    def nat(self, network: str) -> bool:
        """Whether peers appear in the named network with this host's address."""
        said = self.settings.networks[network].nat
        return "site" not in self.settings.preset if said is None else said

    @property
    def forwards_packets(self) -> bool:
        """Whether it lets anything through this host, from one interface to another."""
        ways = [pair for pair in CONCERNED if "host" not in pair]
        return bool(self.settings.forwards) or any(
            rule.action == "allow"
            and any(
                source in ZONES[one.kind] and destination in ZONES[other.kind]
                for one, other in product(rule.sources, rule.destinations)
                for source, destination in ways
            )
            for rule in self.rules
        )

    @cached_property
    def targets(self) -> tuple[tuple[Forward, tuple[Address, ...]], ...]:
        """The forwards, and where each leads: at most one address of an IP version."""
        return tuple((forward, tuple(self._targets(forward))) for forward in self.settings.forwards)

    def meant(self, reference: Reference) -> Sequence[Member]:
        """Return the peers that a peer's or a group's name means."""
        return self._by_name.get((reference.kind, reference.name), ())

    @cached_property
    def _by_name(self) -> dict[tuple[Kind, str], list[Member]]:
        found: dict[tuple[Kind, str], list[Member]] = {}
        for member in self.members:
            found.setdefault(("peer", member.name), []).append(member)
            for group in member.groups:
                found.setdefault(("group", group), []).append(member)
        return found

    def owner(self, address: Address) -> Member | None:
        """Return the peer whose address it is, by the longest of the peers' prefixes.

        An address in the tunnel's own networks is of nobody, unless a peer has it by a prefix
        within them: a peer with a default route has what nobody else has, and not those.
        """
        for length, holders in self._prefixes.get(address.version, {}).items():
            shift = address.max_prefixlen - length
            if (int(address) >> shift) in holders:
                return holders[int(address) >> shift]
        return None

    def mark(self, source: Address) -> int:
        """Return the mark of what an address in the tunnel begins; 0 for none."""
        owner = self.owner(source)
        groups = frozenset[str]() if owner is None else owner.groups
        return next((mark for group, mark in self.marks.groups if group in groups), 0)

    def is_spoofed(self, source: Address) -> bool:
        """Whether an address is one that nobody in the tunnel can have."""
        if any(source == address.ip for address in self.addresses):
            return True
        return not any(source in network for network in self._tunnel)

    def _targets(self, forward: Forward) -> Iterator[Address]:
        if forward.to.prefix is not None:
            yield forward.to.prefix.network_address
            return
        addresses = [each for member in self.meant(forward.to) for each in member.addresses]
        for version in (4, 6):
            yield from [each for each in addresses if each.version == version][:1]

    @cached_property
    def _tunnel(self) -> tuple[Network, ...]:
        networks = dict.fromkeys(address.network for address in self.addresses)
        routed = (network for member in self.members for network in member.routed_networks)
        return tuple(networks | dict.fromkeys(routed))

    @cached_property
    def _prefixes(self) -> dict[int, dict[int, dict[int, Member | None]]]:
        """Who has a prefix: by IP version, by length from the longest on, by its leading bits."""
        found: dict[int, dict[int, dict[int, Member | None]]] = {}

        def add(network: Network, member: Member | None) -> None:
            bits = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
            lengths = found.setdefault(network.version, {})
            lengths.setdefault(network.prefixlen, {})[bits] = member

        for address in self.addresses:
            add(address.network, None)
            add(alone(address.ip), None)
        for member in self.members:
            for network in (*map(alone, member.addresses), *member.routed_networks):
                add(network, member)
        return {
            version: dict(sorted(lengths.items(), reverse=True))
            for version, lengths in found.items()
        }


def preset_rules(settings: PolicySettings) -> Iterator[Rule]:
    """Return the rules that the presets stand for."""
    for preset in settings.preset:
        for rule in _rules_of(preset, settings):
            yield replace(rule, name=f"preset {preset}")


def _rules_of(preset: Preset, settings: PolicySettings) -> Iterator[Rule]:
    networks = tuple(Reference("network", name) for name in settings.networks)
    if preset == "gateway":
        yield Rule("allow", (PEERS,), (INTERNET,))
    if preset in {"hub", "site"}:
        yield Rule("allow", (PEERS,), (PEERS,))
    if preset == "site" and networks:
        yield Rule("allow", (PEERS,), networks)
        yield Rule("allow", networks, (PEERS,))
    if preset != "isolated":
        yield Rule("allow", (PEERS,), (HOST,), (PING,))
    yield Rule("allow", (HOST,), (PEERS,))


def meaning(settings: PolicySettings) -> str:
    """Say in one line what the presets mean, and how much there is beside them."""
    preset = settings.preset
    reached = {
        "the internet with this host's address": "gateway" in preset,
        "each other": "hub" in preset or "site" in preset,
        f"{', '.join(settings.networks)} and back": "site" in preset and bool(settings.networks),
        "this host by ping only": bool({"gateway", "hub", "site"}.intersection(preset)),
    }
    text = f"peers reach {', '.join(filter(reached.get, reached)) or 'nothing'}"
    if preset == ("gateway",):
        text += "; not each other"
    for count, noun in ((len(settings.rules), "rule"), (len(settings.forwards), "forward")):
        if count:
            text += f"; before that {count} {noun}{'s' if count > 1 else ''}"
    return text
