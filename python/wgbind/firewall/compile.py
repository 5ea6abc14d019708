"""From a policy to the nftables table that enforces it, built from typed values.

The peers' addresses are in sets, and the chains look them up: when a peer comes or goes, only
elements of sets do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wgbind.firewall import base
from wgbind.firewall.frame import Builder, Frame, constant_name, identifier
from wgbind.firewall.population import VERSIONS, Population
from wgbind.firewall.table import Set, Table
from wgbind.firewall.way import ADDRESS_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wgbind.firewall.policy import Member, Policy
    from wgbind.firewall.population import Name, Whose


@dataclass(frozen=True)
class Compiled:
    """A table and what it was made from.

    Attributes:
        policy: The policy.
        table: The table.
        frame: What its chains were built from.
        population: What its sets of peers were filled from.
        standing: The names of the sets whose elements come and go.
    """

    policy: Policy
    table: Table
    frame: Frame
    population: Population
    standing: Mapping[Whose, str]

    def may_deny(self, previous: Compiled) -> bool:
        """Whether anything may be denied that was allowed: more changed than that peers came."""
        return self.frame != previous.frame or any(
            previous.table.sets[name].elements - self.table.sets[name].elements
            for name in self.standing.values()
            if previous.table.sets[name] is not self.table.sets[name]
        )


def compile_policy(policy: Policy, previous: Compiled | None = None) -> Compiled:
    """Build the table that enforces a policy.

    If it is to replace a `previous` one, it shares what it can with that: chains that would be the
    same, and sets that may be changed while rules look them up.
    """
    population = _population(policy, previous)
    members = _Members(population, previous)
    frame = Frame(
        policy.interface,
        policy.addresses,
        policy.egress,
        policy.settings,
        policy.rules,
        {name: policy.nat(name) for name in policy.settings.networks},
        members.names,
        members.sources,
        policy.targets,
        policy.marks,
    )
    if previous is not None and previous.frame == frame:
        frame, shared = previous.frame, previous.table
        sets = {name: each for name, each in shared.sets.items() if name not in members.sets}
        table = Table(shared.name, shared.counters, sets | members.sets, shared.chains)
    else:
        builder = Builder()
        base.build(frame, builder)
        table = Table(
            table_name(policy.interface),
            frozenset(builder.counters),
            builder.sets | members.sets,
            builder.chains,
        )
    return Compiled(policy, table, frame, population, members.standing)


def table_name(interface: str) -> str:
    """Return the name of an interface's table, one that `nft` takes on its command line, too."""
    return f"wgbind_{identifier(interface)}"


def _population(policy: Policy, previous: Compiled | None) -> Population:
    """Count the peers, or only those who came or went since, if they are few."""
    named = _named(policy)
    if previous is not None and not previous.population.routed:
        old, new = _identities(previous.policy), _identities(policy)
        gone = [member for key, member in old.items() if key not in new]
        come = [member for key, member in new.items() if key not in old]
        if (
            4 * (len(gone) + len(come)) < len(new)
            and not any(member.routed_networks for member in come)
            and policy.addresses == previous.policy.addresses
            and named == previous.population.named
        ):
            return previous.population.after(gone, come)
    return Population.of(policy, named)


def _identities(policy: Policy) -> dict[int, Member]:
    """Return the peers by their identities: who did not change is the same object."""
    return {id(member): member for member in policy.members}


def _named(policy: Policy) -> frozenset[Name]:
    """Return the groups and peers that rules and marks name."""
    marked = frozenset(("group", group) for group, _ in policy.marks.groups)
    return marked | frozenset(
        (reference.kind, reference.name)
        for rule in policy.rules
        for reference in (*rule.sources, *rule.destinations)
        if reference.kind in {"group", "peer"}
    )


class _Members:
    """The sets of the peers' addresses, and their names."""

    def __init__(self, population: Population, previous: Compiled | None) -> None:
        self._population = population
        self._previous = previous
        self.names: dict[Whose, tuple[str, ...]] = {}
        self.standing: dict[Whose, str] = {}
        self.sets: dict[str, Set] = {}
        self.sources = {
            version: self._constant(f"sources/{version}", Set(ADDRESS_KEY[version], ranges=ranges))
            for version in VERSIONS
            if (ranges := population.sources[version])
        }
        for whose, addresses in population.addresses.items():
            _, name, version = whose
            label = f"{identifier(name)}/{version}"
            if whose[0] == "peer":
                label = f"peer/{label}"
            self.standing[whose] = self._stand(whose, label, addresses)
            self.names[whose] = (self.standing[whose],)
            if whose in population.ranges:
                routed = Set(ADDRESS_KEY[version], ranges=population.ranges[whose])
                self.names[whose] += (self._constant(f"{label}/networks", routed),)

    def _constant(self, label: str, content: Set) -> str:
        name = constant_name(label, content)
        self.sets[name] = content
        return name

    def _stand(self, whose: Whose, label: str, addresses: frozenset[bytes]) -> str:
        """Add a set of addresses, under its previous name if that may change under the rules."""
        wanted = Set(ADDRESS_KEY[whose[2]], addresses)
        taken: Mapping[str, Set] = {}
        if self._previous is not None:
            taken = self._previous.table.sets
            name = self._previous.standing.get(whose)
            if name is not None and self._may_become(taken[name].elements, addresses):
                self.sets[name] = taken[name] if taken[name] == wanted else wanted
                return name
        name = label if label not in taken else f"{label}.1"
        self.sets[name] = wanted
        return name

    def _may_become(self, old: frozenset[bytes], new: frozenset[bytes]) -> bool:
        """Whether a standing set may change so: only by addresses that are not there otherwise.

        A packet could meet the old rules, the old elements of one set and the new ones of another:
        that of a peer which changes from a denied group into another denied one would be in neither
        for that moment. For an address that appears or disappears with its peer there is no harm,
        as the device carries no packets for it before its rules stand or after they are gone.
        """
        changed = old ^ new
        if not changed or self._previous is None:
            return True
        if self._previous.population.ranges != self._population.ranges:
            return False  # what was of a network behind a peer may be another peer's address now
        return not changed & self._previous.population.everyone & self._population.everyone
