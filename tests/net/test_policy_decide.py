"""`decide`, `explain` and the hub against the oracle: many policies, no packet is sent."""

from collections import Counter
from itertools import permutations
from typing import get_args

from net.crossroads import TUNNEL, Arrival, Probe
from net.judged import disagreement, policy_of, random_of, told
from net.oracle import fate
from net.probe import Protocol
from net.random_policy import PORTS, random_policy, random_probes
from wgbind.firewall.hub import hub_classes

POLICIES = 500
PROBES = 60
HUBS = 150


def test_decide_is_right_about_random_policies() -> None:
    reasons: Counter[str] = Counter()
    for number in range(POLICIES):
        random = random_of(number)
        written = random_policy(random)
        policy = policy_of(written)
        for probe in random_probes(random, PROBES):
            expected = fate(written, probe)
            reasons[f"{expected.reason} {expected.arrival is not None}"] += 1
            found = disagreement(policy, probe, expected)
            assert found is None, told(written, probe, expected, found)
    # The comparison would mean little if hardly any packet met a rule.
    total = sum(reasons.values())
    for reason in ("rule True", "rule False", "default False", "spoofed False"):
        assert reasons[reason] > total / 50, reasons


def test_what_goes_straight_would_pass_the_rules() -> None:
    """Packets from peer to peer inside the process are such that no rule drops or logs."""
    pairs = 0
    for number in range(HUBS):
        random = random_of(number)
        written = random_policy(random)
        hub = hub_classes(policy_of(written))
        for one, other in permutations(hub.classes, 2):
            if one.version != other.version or not hub.joins(one, other):
                continue
            pairs += 1
            for protocol in get_args(Protocol):
                for port in PORTS if protocol in ("tcp", "udp") else (0,):
                    probe = Probe(TUNNEL, one, other, protocol, port)
                    found = fate(written, probe)
                    straight = Arrival(TUNNEL, one, other, port)
                    assert found.arrival == straight, told(written, probe, found, hub)
                    logged = isinstance(found.rule, int) and written.rules[found.rule].log
                    assert not logged, told(written, probe, found, hub)
    assert pairs > HUBS  # of four peers with three addresses each there are up to 36
