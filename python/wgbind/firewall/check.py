"""What in a policy is allowed, and most likely not meant."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from wgbind.firewall.shadow import shadowed
from wgbind.settings.rule import may_meet
from wgbind.settings.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from wgbind.firewall.policy import Policy
    from wgbind.settings.address import Address, Network
    from wgbind.settings.forward import Forward
    from wgbind.settings.policy import NetworkSettings
    from wgbind.settings.reference import Reference
    from wgbind.settings.rule import Rule

SSH = Service("tcp", 22, 22)


@dataclass(frozen=True)
class Finding:
    """Something to look at; `place` leads from [policy] to it."""

    place: tuple[str | int, ...]
    message: str


def findings(
    policy: Policy, *, is_own: Callable[[Address], bool], interfaces: Collection[str]
) -> Iterator[Finding]:
    """Find what has no effect or another one than it seems to have.

    `is_own` says whether an address is one of this host, whose interfaces are `interfaces`.
    """
    yield from _shadowed(policy)
    for index, rule in enumerate(policy.settings.rules):
        for message in _about_rule(policy, rule, is_own):
            yield Finding(("rules", index), message)
    for member in policy.members:
        for group in sorted(member.groups.difference(policy.settings.groups)):
            message = f"peer {member.name} is in {group!r}, which is no group; name it here"
            yield Finding(("groups",), message)
    for index, forward in enumerate(policy.settings.forwards):
        for message in _about_forward(policy, forward):
            yield Finding(("forwards", index), message)
    for name, network in policy.settings.networks.items():
        for message in _about_network(policy, network, interfaces):
            yield Finding(("networks", name), message)
    if "site" in policy.settings.preset and not policy.settings.networks:
        message = "site opens the ways to named networks, and there are none in [policy.networks]"
        yield Finding(("preset",), message)


def _about_rule(policy: Policy, rule: Rule, is_own: Callable[[Address], bool]) -> Iterator[str]:
    pairs = list(product(rule.sources, rule.destinations))
    meeting = [pair for pair in pairs if may_meet(*pair)]
    for one, other in pairs:
        if (one, other) not in meeting:
            yield f"in {str(rule)!r}, {one} -> {other} can never match"
    if not any(_versions(policy, one) & _versions(policy, other) for one, other in meeting):
        yield f"{str(rule)!r} can never match: one end has IPv4, the other IPv6"
    for reference in dict.fromkeys((*rule.sources, *rule.destinations)):
        if reference.kind in {"peer", "group"} and not policy.meant(reference):
            yield (
                f"no peer is in the group {reference.name!r}"
                if reference.kind == "group"
                else f"there is no peer {reference.name!r}; the rule waits for it"
            )
        yield from _about_address(policy, reference, is_own)


def _about_forward(policy: Policy, forward: Forward) -> Iterator[str]:
    to = forward.to
    if forward.service.covers(SSH):
        yield "it takes the port of this host's own ssh: be sure of another way in"
    if to.kind == "peer" and not policy.meant(to):
        yield f"there is no peer {to.name!r}; it leads nowhere"
    elif to.prefix is not None and policy.owner(to.prefix.network_address) is None:
        yield f"{to} is no address of a peer; it leads nowhere"


def _versions(policy: Policy, reference: Reference) -> set[int]:
    """Return the versions of IP that a reference's addresses can have."""
    networks: Iterable[Network | Address]
    if reference.prefix is not None:
        networks = (reference.prefix,)
    elif reference.kind == "network":
        networks = policy.settings.networks[reference.name].prefixes
    elif reference.kind in {"peer", "group"}:
        meant = policy.meant(reference)
        networks = [each for m in meant for each in (*m.addresses, *m.routed_networks)]
    else:
        return {4, 6}
    # Of a peer or group that is not there yet nobody knows.
    return {network.version for network in networks} or {4, 6}


def _about_network(
    policy: Policy, network: NetworkSettings, interfaces: Collection[str]
) -> Iterator[str]:
    if network.interface == policy.interface:
        yield f"{network.interface} is the tunnel itself; name networks outside of it"
    elif network.interface and network.interface not in interfaces:
        yield f"this host has no interface {network.interface!r} now"
    for member in policy.members:
        for routed in member.routed_networks:
            for prefix in network.prefixes:
                if routed.prefixlen > 0 and prefix.overlaps(routed):
                    yield (
                        f"{prefix} overlaps {routed} behind peer {member.name}; what is there is "
                        "that peer's, not of the named network"
                    )


def _about_address(
    policy: Policy, reference: Reference, is_own: Callable[[Address], bool]
) -> Iterator[str]:
    prefix = reference.prefix
    if prefix is None or prefix.prefixlen < prefix.max_prefixlen:
        return
    address = prefix.network_address
    if any(address == own.ip for own in policy.addresses) or is_own(address):
        yield f"{address} is one address of this host; `host` means all of them"
    elif any(address in own.network for own in policy.addresses) and policy.owner(address) is None:
        yield f"{address} is in the tunnel's network, and no peer has it"


def _shadowed(policy: Policy) -> Iterator[Finding]:
    """Find rules of which earlier ones, together, leave nothing to decide."""
    rules = policy.settings.rules
    for index, decided_by in shadowed(policy):
        before = ", ".join(f"{i + 1} ({rules[i]})" for i in decided_by)
        yield Finding(
            ("rules", index),
            f"rule {index + 1} ({rules[index]}) never decides, since what it is about is decided "
            f"by rule {before}; move it up or leave it out",
        )
