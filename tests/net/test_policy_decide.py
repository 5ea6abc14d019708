"""`decide` against the oracle: many policies, many packets, none of them sent."""

from collections import Counter

from net.judged import disagreement, policy_of, random_of, told
from net.oracle import fate
from net.random_policy import random_policy, random_probes

POLICIES = 500
PROBES = 60


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
