"""The firewall of a server, as its owner looks at it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from socket import if_nameindex
from typing import TYPE_CHECKING, Literal

from wgbind.api.firewall import (
    ExplanationReport,
    FindingReport,
    FirewallReport,
    PlanReport,
    ReachChangeReport,
    RuleChangeReport,
    RuleReport,
)
from wgbind.firewall.check import findings
from wgbind.firewall.explain import explain
from wgbind.firewall.plan import plan
from wgbind.firewall.policy import Policy, meaning
from wgbind.firewall.question import Question
from wgbind.net.host import host_view
from wgbind.net.way import way_to
from wgbind.server.policy import resolve
from wgbind.settings import toml
from wgbind.settings.policy import PolicySettings
from wgbind.settings.rule import Rule
from wgbind.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wgbind.firewall.apply import Counters
    from wgbind.firewall.decide import End, Flow
    from wgbind.net.way import Way
    from wgbind.server.server import Server
    from wgbind.settings.address import Address
    from wgbind.settings.forward import Forward


class Firewall:
    """The firewall of a server, whether it runs or not.

    What is not in force yet is that of the settings file. Every method but `check` raises
    `SettingsError` for a mistake there, each `NotFoundError` for a server without settings and
    `StoreError` for a store that cannot be used.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    def show(self) -> FirewallReport:
        """Describe the rules, in force or, if the server is stopped, of the file."""
        running = self._server.firewall_in_force()
        return firewall_report(self._written(), None) if running is None else running

    def check(self) -> tuple[FindingReport, ...]:
        """Look for mistakes in the settings, and if there are none, for what looks like one."""
        path = self._server.paths.settings
        mistakes = toml.mistakes(path)
        if mistakes:
            return tuple(
                _finding("error", f"{path}:{each.line}", each.message) for each in mistakes
            )
        found = list(findings(self._written(), is_own=_is_own, interfaces=_interfaces()))
        lines = toml.lines_of(path, *(("policy", *each.place) for each in found))
        reports = (
            _finding("warning", f"{path}:{line}", f"key {_key(each.place)}: {each.message}")
            for line, each in sorted(zip(lines, found, strict=True), key=lambda pair: pair[0])
        )
        return tuple(dict.fromkeys(reports))  # rules on one line may lack the same peer

    def plan(self) -> PlanReport:
        """Compare the settings file with what runs; if nothing does, with nothing allowed."""
        new = self._written()
        running = self._server.firewall_in_force()
        if running is None:
            old = replace(new, settings=PolicySettings(preset=()))
        else:
            old = replace(new, settings=running.policy, egress=running.egress)
        found = plan(old, new, way_to)
        return PlanReport(
            running=running is not None,
            rules=tuple(
                RuleChangeReport(
                    change="added" if change.added else "removed",
                    number=change.number,
                    text=str(change.rule),
                    name=change.rule.name,
                )
                for change in found.rules
            ),
            other=found.other,
            reach=tuple(
                ReachChangeReport(
                    source=change.source,
                    destination=change.destination,
                    gained=str(change.gained),
                    lost=str(change.lost),
                )
                for change in found.reach
            ),
        )

    def explain(self, *words: str) -> ExplanationReport:
        """Say what becomes of a connection, and why: `explain("alice -> 192.168.7.9:22 tcp")`.

        It is of the rules in force; of a server that is stopped, of its settings. Raises
        `InputError` for a question that is none, or that is not about the tunnel, and
        `NotFoundError` for a peer that does not exist.
        """
        question = Question.parse(words)
        policy = self._written()
        running = self._server.firewall_in_force()
        if running is not None:
            policy = replace(policy, settings=running.policy, egress=running.egress)

        def way(destination: Address, peer: Address | None) -> Way | None:
            mark = 0 if peer is None else policy.mark(peer)
            return way_to(destination, peer, policy.interface, mark)

        flow = question.flow(policy, way)
        found = explain(policy, flow)
        remarks = list(self._remarks(policy, flow))
        if running is None:
            remarks.append(f"{self._server.name} is stopped: this is what its settings say")
        decision = found.decision
        rule = None
        if decision.rule is not None and decision.number is not None:
            rule = _rule_report(decision.number, decision.rule, None)
        return ExplanationReport(
            allowed=decision.allowed,
            source=_words(policy, found.flow.source),
            destination=_words(policy, found.flow.destination),
            service=_service(found.flow),
            reason=found.reason,
            rule=rule,
            nat=found.nat,
            path="process" if found.straight else "kernel",
            remarks=tuple(remarks),
        )

    def _written(self) -> Policy:
        """Resolve the policy of the settings file beside the store and the host."""
        settings = self._server.configuration().settings
        with Store.open(self._server.paths, settings) as store:
            peers = store.peers(self._server.name, private_keys=False)
        now = datetime.now(timezone.utc)
        peers = [peer for peer in peers if peer.served(now)]
        return resolve(self._server.name, settings, peers, host_view())

    def _remarks(self, policy: Policy, flow: Flow) -> Iterator[str]:
        """Say what else is in the way: a route that is missing, a client that sends elsewhere."""
        for end, other in ((flow.source, flow.destination), (flow.destination, flow.source)):
            if end.zone == "outside" and not end.interface:
                yield f"this host has no route to {end.address} now"
            owner = policy.owner(end.address) if end.zone == "tunnel" else None
            if owner is not None:
                peer = self._server.peers.get(owner.name)
                allowed = self._server.peers.client_configuration(peer).allowed_ips
                if not any(other.address in network for network in allowed):
                    verb = "send to" if end is flow.source else "take from"
                    yield (
                        f"{owner.name} itself does not {verb} {other.address}: its AllowedIPs are "
                        f"{', '.join(map(str, allowed))}"
                    )


def firewall_report(policy: Policy, counters: Counters | None) -> FirewallReport:
    """Describe a policy; `counters` are the table's, None if it is not in force."""
    return FirewallReport(
        name=policy.interface,
        running=counters is not None,
        policy=policy.settings,
        egress=policy.egress,
        meaning=meaning(policy.settings),
        rules=tuple(
            _rule_report(number, rule, counters) for number, rule in enumerate(policy.rules, 1)
        ),
        forwards=tuple(
            _rule_report(number, forward, counters)
            for number, forward in enumerate(policy.settings.forwards, 1)
        ),
        refused={} if counters is None else counters.refused,
    )


def _rule_report(number: int, rule: Rule | Forward, counters: Counters | None) -> RuleReport:
    counter = None if counters is None else counters.of(rule)
    return RuleReport(
        number=number,
        text=str(rule),
        name=rule.name if isinstance(rule, Rule) else None,
        packets=None if counter is None else counter.packets,
        bytes=None if counter is None else counter.bytes,
    )


def _finding(severity: Literal["error", "warning"], place: str, message: str) -> FindingReport:
    return FindingReport(severity=severity, place=place, message=message)


def _key(place: tuple[str | int, ...]) -> str:
    return ".".join(("policy", *(part for part in place if isinstance(part, str))))


def _is_own(address: Address) -> bool:
    way = way_to(address)
    return way is not None and way.local


def _interfaces() -> list[str]:
    return [name for _, name in if_nameindex()]


def _words(policy: Policy, end: End) -> str:
    match end.zone:
        case "host":
            return f"this host ({end.address})"
        case "tunnel":
            owner = policy.owner(end.address)
            return f"{'no peer' if owner is None else owner.name} ({end.address})"
        case "outside":
            return f"{end.address} by {end.interface or 'no interface'}"


def _service(flow: Flow) -> str:
    return f"{flow.protocol}/{flow.port}" if flow.port else flow.protocol
