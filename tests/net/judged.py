"""A written policy given to wgbind, and what it decides put beside the oracle."""

from __future__ import annotations

import os
import secrets
from ipaddress import ip_interface
from pprint import pformat
from random import Random
from typing import TYPE_CHECKING

from net.crossroads import ADDRESSES, HOST, TUNNEL, way
from wgbind.firewall.decide import End, Flow, decide
from wgbind.firewall.explain import explain
from wgbind.firewall.policy import Policy
from wgbind.settings.policy import PolicySettings

if TYPE_CHECKING:
    from net.crossroads import Probe
    from net.oracle import Fate
    from net.probe import Address
    from net.written import Written

SEED = os.environ.get("WGBIND_TEST_SEED") or secrets.token_hex(4)
"""What random policies come from; a failure names it, and the variable repeats it."""


def random_of(number: int) -> Random:
    """Return the source of random policy `number`, the same for the same seed."""
    return Random(f"{SEED}-{number}")  # noqa: S311  not for secrets


def policy_of(written: Written, tunnel: str = TUNNEL) -> Policy:
    """Have wgbind read a policy."""
    return Policy(
        interface=tunnel,
        addresses=tuple(map(ip_interface, ADDRESSES[TUNNEL])),
        egress=written.egress,
        settings=PolicySettings.model_validate(written.section()),
        members=written.peers,
    )


def disagreement(policy: Policy, probe: Probe, fate: Fate) -> str | None:
    """Compare `decide` and `explain` with the oracle; return what is different, if anything is."""
    if fate.reason == "untouched":
        return None  # they are not asked about that
    flow = Flow(
        _end(probe.enters, probe.source),
        _end(way(probe.destination), probe.destination),
        probe.protocol,
        probe.port,
    )
    explained = explain(policy, flow)
    there = explained.flow.destination.address, explained.flow.port
    if fate.arrival is None:
        explains = not explained.decision.allowed
    else:
        hidden = fate.arrival.source != probe.source
        explains = explained.decision.allowed and explained.nat is hidden
        explains = explains and there == (fate.arrival.destination, fate.arrival.port)
    if not explains or (explained.forward is None) is (fate.reason == "forward"):
        return f"explain says {explained}"
    if explained.forward is not None:
        return None  # `decide` knows no forwards
    decision = decide(policy, flow)
    rule = None if decision.number is None else decision.number - 1
    preset = rule is not None and rule >= len(policy.settings.rules)
    same = isinstance(fate.rule, str) if preset else rule == fate.rule
    if same and decision.allowed == (fate.arrival is not None) and decision == explained.decision:
        return None
    return f"decide says {decision}"


def told(written: Written, probe: Probe, fate: Fate, found: object) -> str:
    """Tell what a failed comparison was about."""
    return (
        f"WGBIND_TEST_SEED={SEED}\n{pformat(written.section(), sort_dicts=False, width=100)}\n"
        f"egress {written.egress}, peers {[peer.name for peer in written.peers]}\n"
        f"{probe}\nexpected {fate}\nfound {found}"
    )


def _end(link: str, address: Address) -> End:
    if link == HOST:
        return End("host", address)
    return End("tunnel", address) if link == TUNNEL else End("outside", address, link)
