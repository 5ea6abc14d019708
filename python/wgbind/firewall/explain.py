"""Why a connection passes or not: which rule decides, what is done to it, by which way it goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from wgbind.firewall.decide import Decision, End, decide, ends_match, is_end
from wgbind.firewall.hub import hub_classes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wgbind.firewall.decide import Flow
    from wgbind.firewall.policy import Policy
    from wgbind.settings.address import Address
    from wgbind.settings.forward import Forward

GLOBAL_UNICAST = IPv6Network("2000::/3")
"""Addresses that others can answer to: from these nothing is translated (RFC 4291, 2.4)."""


@dataclass(frozen=True)
class Explanation:
    """What becomes of a connection, and why.

    Attributes:
        flow: Its first packet, with the destination that a forward gives it.
        decision: Whether it passes, and the rule that says so, if one does.
        reason: In one sentence.
        forward: The forward that took it.
        nat: Whether it leaves with this host's address.
        straight: Whether it goes from peer to peer inside the process, past the kernel.
    """

    flow: Flow
    decision: Decision
    reason: str
    forward: Forward | None = None
    nat: bool = False
    straight: bool = False


def explain(policy: Policy, flow: Flow) -> Explanation:
    """Say what becomes of a connection's first packet; `flow` has the destination that it bears.

    Raises `InputError` for one that neither comes from the tunnel nor goes to it.
    """
    forward, target = forward_of(policy, flow)
    if forward is not None and target is not None:
        there = replace(
            flow, destination=End("tunnel", target), port=_port_behind(forward, flow.port)
        )
        port = f"port {there.port}"
        return Explanation(
            there,
            Decision(allowed=True),
            f"the forward {str(forward)!r} leads it to {target}, {port}",
            forward,
            nat=forward.masquerade or flow.source.zone == "tunnel",
        )
    decision = decide(policy, flow)
    return Explanation(
        flow,
        decision,
        _reason(policy, flow, decision),
        nat=decision.allowed and _is_translated(policy, flow),
        straight=decision.allowed and _goes_straight(policy, flow),
    )


def forward_of(policy: Policy, flow: Flow) -> tuple[Forward, Address] | tuple[None, None]:
    """Return the forward that takes a connection, and to which peer's address it leads."""
    source = flow.source
    from_outside = source.zone == "outside" and (
        policy.egress is None or source.interface in policy.egress
    )
    from_peer = source.zone == "tunnel" and not policy.is_spoofed(source.address)
    if flow.destination.zone == "host" and (from_outside or from_peer):
        for forward, targets in policy.targets:
            service = forward.service
            if service.protocol == flow.protocol and service.first <= flow.port <= service.last:
                version = flow.destination.address.version
                for target in targets:
                    if target.version == version:
                        return forward, target
    return None, None


def _port_behind(forward: Forward, port: int) -> int:
    return port if forward.port is None else forward.port


def _is_translated(policy: Policy, flow: Flow) -> bool:
    """Whether a connection out of the tunnel gets this host's address."""
    source, destination = flow.source, flow.destination
    if source.zone != "tunnel" or destination.zone != "outside":
        return False
    if source.address in GLOBAL_UNICAST:
        return False
    for reference in policy.networks:
        if is_end(policy, reference, destination):
            return policy.nat(reference.name)
    return policy.egress is None or destination.interface in policy.egress


def _goes_straight(policy: Policy, flow: Flow) -> bool:
    if (flow.source.zone, flow.destination.zone) != ("tunnel", "tunnel"):
        return False
    return hub_classes(policy).joins(flow.source.address, flow.destination.address)


def _reason(policy: Policy, flow: Flow, decision: Decision) -> str:
    if decision.rule is not None:
        label = f" ({decision.rule.name})" if decision.rule.name else ""
        return f"rule {decision.number}{label} is the first that matches: {decision.rule}"
    if flow.source.zone == "tunnel" and policy.is_spoofed(flow.source.address):
        return f"{flow.source.address} is no address of a peer: dropped before any rule"
    near = "; ".join(_near_misses(policy, flow))
    return f"no rule matches, so it is denied{f'; {near}' if near else ''}"


def _near_misses(policy: Policy, flow: Flow) -> Iterator[str]:
    """Name the rules for the same ends and other services, three at most."""
    found = 0
    for number, rule in enumerate(policy.rules, 1):
        if found < 3 and rule.action == "allow" and ends_match(policy, rule, flow):
            found += 1
            yield f"rule {number} is for these two, but for {', '.join(map(str, rule.services))}"
