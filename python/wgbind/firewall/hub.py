"""Which peers' packets may go straight from one to the other inside the process; pure.

The kernel does not see those packets: no rule, no counter, no connection tracking. So it is for
peers between whom the policy lets everything pass in both directions, and nothing is logged or
limited. All others reach each other by the kernel, where the same policy stands as rules.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from wgbind.settings.reference import ZONES
from wgbind.settings.service import ANY_SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wgbind.firewall.policy import Policy
    from wgbind.settings.address import Address, Network
    from wgbind.settings.reference import Reference
    from wgbind.settings.rule import Rule

    K = TypeVar("K")
    V = TypeVar("V")
    _Kind: TypeAlias = frozenset[Reference]
    _ByLength: TypeAlias = dict[tuple[int, int], dict[int, V]]

MAX_CLASSES = 256
"""As many as a device has; who would need one more is reached by way of the kernel."""


@dataclass(frozen=True)
class Hub:
    """Peers' addresses in classes, and the pairs of classes that reach each other straight.

    Addresses with the same partners are in one class, those without a partner in none. The lower
    class of a link comes first. Classes are numbered as their addresses come, so hubs with the
    same addresses in the same order are equal if they join the same ones.
    """

    classes: Mapping[Address, int] = field(default_factory=dict)
    links: frozenset[tuple[int, int]] = frozenset()

    def joins(self, one: Address, other: Address) -> bool:
        """Whether packets between the two go straight."""
        if one not in self.classes or other not in self.classes:
            return False
        return _link(self.classes[one], self.classes[other]) in self.links


def hub_classes(policy: Policy) -> Hub:
    """Return who may go straight: the largest hub that the policy allows.

    With more than `MAX_CLASSES` kinds of addresses, as its rules see them, the rarest are left out.
    """
    rules = [rule for rule in policy.rules if _matters(rule)]
    if policy.settings.connection_limit is not None or not any(map(_opens, rules)):
        return Hub()
    kinds = _most_common(_kinds(policy, rules))
    return _hub(list(kinds.values()), _reached(list(kinds), rules))


def narrow(old: Hub, new: Hub) -> Hub:
    """Return who goes straight by both, or of very many classes not all of them."""
    pairs: defaultdict[tuple[int, int], list[Address]] = defaultdict(list)
    for address, before in old.classes.items():
        after = new.classes.get(address)
        if after is not None:
            pairs[before, after].append(address)
    common = _most_common(pairs)
    reached = [
        _mask(
            _link(before, other_before) in old.links and _link(after, other_after) in new.links
            for other_before, other_after in common
        )
        for before, after in common
    ]
    return _hub(list(common.values()), reached)


def _opens(rule: Rule) -> bool:
    """Whether all that it is about passes, and may do so without the kernel."""
    return rule.action == "allow" and not rule.log and ANY_SERVICE in rule.services


def _matters(rule: Rule) -> bool:
    """Whether it decides between peers; one that only lets some services pass leaves it open."""
    if rule.action == "allow" and not rule.log and not _opens(rule):
        return False
    return all(
        any("tunnel" in ZONES[ref.kind] for ref in references)
        for references in (rule.sources, rule.destinations)
    )


def _kinds(policy: Policy, rules: Iterable[Rule]) -> dict[_Kind, list[Address]]:
    """Sort the peers' addresses by which references of the rules mean them."""
    references = {ref for rule in rules for ref in (*rule.sources, *rule.destinations)}
    everyone = frozenset(ref for ref in references if ref.kind in {"any", "peers"})
    by_name = {(ref.kind, ref.name): ref for ref in references}
    prefixes = _by_length((ref.prefix, ref) for ref in references if ref.prefix is not None)
    pools = _by_length((address.network, address.ip) for address in policy.addresses)

    kinds: defaultdict[_Kind, list[Address]] = defaultdict(list)
    for member in policy.members:
        names = [("peer", member.name), *(("group", group) for group in member.groups)]
        named = everyone.union(by_name[name] for name in names if name in by_name)
        for address in member.addresses:
            # Where the settings changed, a peer may still have an address that leads elsewhere.
            own = list(_lookup(pools, address))
            if own and address not in own:
                kind = named.union(_lookup(prefixes, address)) if prefixes else named
                kinds[kind].append(address)
    return kinds


def _reached(kinds: Sequence[_Kind], rules: Iterable[Rule]) -> list[int]:
    """Return for each kind a mask of those that it may send anything to."""

    def meant(references: Iterable[Reference]) -> int:
        return _mask(not kind.isdisjoint(references) for kind in kinds)

    ends = [(meant(rule.sources), meant(rule.destinations), _opens(rule)) for rule in rules]
    reached = []
    for index in range(len(kinds)):
        opened, undecided = 0, (1 << len(kinds)) - 1
        for sources, destinations, opens in ends:
            if sources >> index & 1:
                opened |= undecided & destinations if opens else 0
                undecided &= ~destinations
        reached.append(opened)
    return reached


def _most_common(classes: dict[K, list[Address]]) -> dict[K, list[Address]]:
    """Keep as many as there may be, in their order."""
    if len(classes) <= MAX_CLASSES:
        return classes
    sizes = sorted(classes, key=lambda each: len(classes[each]), reverse=True)
    kept = set(sizes[:MAX_CLASSES])
    return {each: addresses for each, addresses in classes.items() if each in kept}


def _hub(classes: Sequence[Sequence[Address]], reached: Sequence[int]) -> Hub:
    """Link classes that reach each other, and join those with the same partners."""
    indices = range(len(classes))
    partners = [
        _mask(reached[one] >> other & reached[other] >> one & 1 for other in indices)
        for one in indices
    ]
    numbers: dict[int, int] = {}
    for row in filter(None, partners):
        numbers.setdefault(row, len(numbers))
    return Hub(
        {
            address: numbers[row]
            for row, addresses in zip(partners, classes, strict=True)
            if row
            for address in addresses
        },
        frozenset(
            _link(numbers[partners[one]], numbers[partners[other]])
            for one in indices
            for other in indices
            if partners[one] >> other & 1
        ),
    )


def _by_length(networks: Iterable[tuple[Network, V]]) -> _ByLength[V]:
    """Sort values by the IP version, the length and the leading bits of their networks."""
    found: _ByLength[V] = {}
    for network, value in networks:
        bits = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        found.setdefault((network.version, network.prefixlen), {})[bits] = value
    return found


def _lookup(networks: _ByLength[V], address: Address) -> Iterator[V]:
    """Return the values of all networks that hold an address."""
    number, bits = int(address), address.max_prefixlen
    for (version, length), values in networks.items():
        if version == address.version and (prefix := number >> (bits - length)) in values:
            yield values[prefix]


def _mask(bits: Iterable[object]) -> int:
    return sum(1 << index for index, bit in enumerate(bits) if bit)


def _link(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one <= other else (other, one)
