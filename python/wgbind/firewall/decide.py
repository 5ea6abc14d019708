"""What the policy says about a connection: a plain reading of the rules, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from wgbind.errors import InputError
from wgbind.settings.rule import CONCERNED

if TYPE_CHECKING:
    from wgbind.firewall.policy import Policy
    from wgbind.settings.address import Address
    from wgbind.settings.reference import Reference, Zone
    from wgbind.settings.rule import Rule
    from wgbind.settings.service import Service

FlowProtocol: TypeAlias = Literal["tcp", "udp", "icmp", "ping"]


@dataclass(frozen=True)
class End:
    """Where a packet comes from or goes to; `interface` is this host's, for the zone outside."""

    zone: Zone
    address: Address
    interface: str = ""


@dataclass(frozen=True)
class Flow:
    """The first packet of a connection; `port` is the destination's, for tcp and udp.

    `icmp` is any message of ICMP or ICMPv6 but an echo request, which is `ping`; `other` is what no
    service names.
    """

    source: End
    destination: End
    protocol: FlowProtocol | Literal["other"]
    port: int = 0


@dataclass(frozen=True)
class Decision:
    """What becomes of a connection.

    `rule` is the one that decides, `number` its place in `Policy.rules` from 1 on; both are None if
    no rule matched, and what no rule allows is denied, or if the source is spoofed.
    """

    allowed: bool
    rule: Rule | None = None
    number: int | None = None


def decide(policy: Policy, flow: Flow) -> Decision:
    """Find the first rule that matches a connection's first packet.

    Answers need no rule, and forwarded ports are not looked at here. Raises `InputError` for a
    flow that neither comes from the tunnel nor goes to it: about that wgbind decides nothing.
    """
    if (flow.source.zone, flow.destination.zone) not in CONCERNED:
        raise InputError(
            f"from {flow.source.zone} to {flow.destination.zone} nothing goes through the tunnel; "
            "name a peer at one end"
        )
    if flow.source.zone == "tunnel" and policy.is_spoofed(flow.source.address):
        return Decision(allowed=False)
    for number, rule in enumerate(policy.rules, 1):
        if any(_is_service(service, flow) for service in rule.services) and (
            ends_match(policy, rule, flow)
        ):
            return Decision(rule.action == "allow", rule, number)
    return Decision(allowed=False)


def ends_match(policy: Policy, rule: Rule, flow: Flow) -> bool:
    """Whether a rule is for the two ends of a connection, whatever its services are."""
    return any(is_end(policy, reference, flow.source) for reference in rule.sources) and any(
        is_end(policy, reference, flow.destination) for reference in rule.destinations
    )


def is_end(policy: Policy, reference: Reference, end: End) -> bool:
    """Whether a rule's reference means this end."""
    match reference.kind:
        case "any":
            return True
        case "host":
            return end.zone == "host"
        case "peers":
            return end.zone == "tunnel"
        case "group" | "peer":
            owner = policy.owner(end.address) if end.zone == "tunnel" else None
            if owner is None:
                return False
            named = owner.groups if reference.kind == "group" else {owner.name}
            return reference.name in named
        case "network":
            return end.zone == "outside" and _is_in_network(policy, reference.name, end)
        case "internet":
            return (
                end.zone == "outside"
                and (policy.egress is None or end.interface in policy.egress)
                and not any(
                    end.address in prefix
                    for network in policy.settings.networks.values()
                    for prefix in network.prefixes
                )
            )
        case "prefix":
            return reference.prefix is not None and end.address in reference.prefix


def _is_in_network(policy: Policy, name: str, end: End) -> bool:
    network = policy.settings.networks[name]
    if network.interface not in {None, end.interface}:
        return False
    return any(end.address in prefix for prefix in network.prefixes)


def _is_service(service: Service, flow: Flow) -> bool:
    match service.protocol:
        case "any":
            return True
        case "icmp":
            return flow.protocol in {"icmp", "ping"}
        case "ping":
            return flow.protocol == "ping"
        case _:
            return flow.protocol == service.protocol and service.first <= flow.port <= service.last
