"""What a change of the policy would change: in rules, and in who reaches what."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import product
from typing import TYPE_CHECKING

from wgbind.firewall.decide import is_end
from wgbind.firewall.place import places
from wgbind.firewall.reach import allowed_by
from wgbind.settings.rule import CONCERNED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wgbind.firewall.decide import End
    from wgbind.firewall.place import Place, WayTo
    from wgbind.firewall.policy import Policy
    from wgbind.firewall.reach import Traffic
    from wgbind.settings.reference import Reference
    from wgbind.settings.rule import Rule

MAX_PLACES = 256
"""So that all are compared with all in seconds; IPv4 and IPv6 count apart."""


@dataclass(frozen=True)
class RuleChange:
    """A rule that goes or comes; `number` is its place among the old or the new ones, from 1 on."""

    added: bool
    number: int
    rule: Rule


@dataclass(frozen=True)
class ReachChange:
    """What the ends at one place gain and lose of those at another."""

    source: str
    destination: str
    gained: Traffic
    lost: Traffic


@dataclass(frozen=True)
class Plan:
    """The difference between two policies.

    Attributes:
        rules: Rules that go or come, presets' too, in order.
        other: Whatever else differs, a line each.
        reach: Who could begin what, and who could not any more.
    """

    rules: tuple[RuleChange, ...]
    other: tuple[str, ...]
    reach: tuple[ReachChange, ...]


def plan(old: Policy, new: Policy, way_to: WayTo) -> Plan:
    """Compare two policies of one server; the peers are those of the new one.

    `way_to` says where this host sends what is for an address.
    """
    changes = tuple(_rule_changes(old.rules, new.rules))
    other = list(_other_changes(old, new))
    found = places(way_to, (new, old), (*new.rules, *old.rules))
    if len(found) > MAX_PLACES:
        found = places(way_to, (new, old), [change.rule for change in changes])[:MAX_PLACES]
        other.append(
            "peers are in too many combinations of groups to compare them all: below, one peer "
            "stands for all that the changed rules do not tell apart"
        )
    return Plan(changes, tuple(other), tuple(_reach_changes(old, new, found)))


def _rule_changes(old: tuple[Rule, ...], new: tuple[Rule, ...]) -> Iterator[RuleChange]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for kind, first, last, new_first, new_last in matcher.get_opcodes():
        if kind != "equal":
            for number in range(first, last):
                yield RuleChange(added=False, number=number + 1, rule=old[number])
            for number in range(new_first, new_last):
                yield RuleChange(added=True, number=number + 1, rule=new[number])


def _other_changes(old: Policy, new: Policy) -> Iterator[str]:
    def egress(policy: Policy) -> str:
        return "any" if policy.egress is None else ", ".join(policy.egress) or "none"

    if egress(old) != egress(new):
        yield f"egress: {egress(old)} becomes {egress(new)}"
    before, after = old.settings, new.settings
    for name in dict.fromkeys((*before.networks, *after.networks)):
        one, other = before.networks.get(name), after.networks.get(name)
        if one is None or other is None:
            yield f"network {name}: {'added' if one is None else 'removed'}"
        elif one.prefixes != other.prefixes or one.interface != other.interface:
            yield f"network {name}: {_network(old, name)} becomes {_network(new, name)}"
        elif old.nat(name) != new.nat(name):
            yield f"network {name}: NAT {'on' if new.nat(name) else 'off'}"
    for forward in before.forwards:
        if forward not in after.forwards:
            yield f"forward removed: {forward}"
    for forward in after.forwards:
        if forward not in before.forwards:
            yield f"forward added: {forward}"
    if before.connection_limit != after.connection_limit:
        yield f"connection_limit: {before.connection_limit} becomes {after.connection_limit}"


def _network(policy: Policy, name: str) -> str:
    network = policy.settings.networks[name]
    prefixes = ", ".join(map(str, network.prefixes))
    return prefixes if network.interface is None else f"{prefixes} at {network.interface}"


def _reach_changes(old: Policy, new: Policy, found: list[Place]) -> Iterator[ReachChange]:
    before, after = _Reach(old), _Reach(new)
    # By label, since IPv4 and IPv6 are named apart only where they differ.
    compared: dict[tuple[str, str], set[int]] = {}
    changed: dict[tuple[str, str, Traffic, Traffic], set[int]] = {}
    for source, destination in _pairs(found):
        ends, version = (source.label, destination.label), source.end.address.version
        there = _destination(source, destination)
        was, will = before.rules(source.end, there), after.rules(source.end, there)
        compared.setdefault(ends, set()).add(version)
        if was == will:
            continue
        one, other = allowed_by(was), allowed_by(will)
        if one != other:
            changed.setdefault((*ends, other - one, one - other), set()).add(version)
    for (source_label, label, gained, lost), versions in changed.items():
        family = ""
        if versions != compared[source_label, label]:
            family = f" (IPv{versions.pop()})"
        yield ReachChange(source_label, label + family, gained, lost)


def _pairs(found: list[Place]) -> Iterator[tuple[Place, Place]]:
    for source, destination in product(found, found):
        zones = (source.end.zone, destination.end.zone)
        same_version = source.end.address.version == destination.end.address.version
        if same_version and zones in CONCERNED and (source != destination or source.other):
            yield source, destination


def _destination(source: Place, destination: Place) -> End:
    """Return an end of the destination; where peers of one kind meet, another peer's."""
    if source == destination and destination.other is not None:
        return destination.other
    return destination.end


class _Reach:
    """The rules of a policy that are for two ends, looked up once for each end."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._from: dict[End, frozenset[int]] = {}
        self._to: dict[End, frozenset[int]] = {}

    def rules(self, source: End, destination: End) -> list[Rule]:
        """Return the rules for what `source` begins with `destination`, in order."""
        rules = self._policy.rules
        if source.zone == "tunnel" and self._policy.is_spoofed(source.address):
            return []
        if source not in self._from:
            self._from[source] = self._matching(source, [rule.sources for rule in rules])
        if destination not in self._to:
            self._to[destination] = self._matching(
                destination, [rule.destinations for rule in rules]
            )
        return [rules[i] for i in sorted(self._from[source] & self._to[destination])]

    def _matching(self, end: End, references: list[tuple[Reference, ...]]) -> frozenset[int]:
        # A rule is seldom alone in its references: each is looked at once.
        known: dict[Reference, bool] = {}
        for reference in {each for group in references for each in group}:
            known[reference] = is_end(self._policy, reference, end)
        return frozenset(
            index
            for index, group in enumerate(references)
            if any(known[reference] for reference in group)
        )
