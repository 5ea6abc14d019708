"""Random policies: real packets, `decide` and the oracle say the same about each of many packets.

`WGBIND_TEST_SEED` repeats a run that failed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

import pytest

from net.crossroads import HOST
from net.ends import Guarded
from net.judged import disagreement, policy_of, random_of, told
from net.oracle import comes_back, fate, goes_on
from net.random_policy import random_policy, random_probes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from net.crossroads import Probe, Seen
    from net.oracle import Fate
    from net.written import Written

    Exchange: TypeAlias = tuple[Probe, Seen]

POLICIES = 200
BLOCKS = 4
PROBES = 120


@pytest.fixture(scope="module")
def crossroads() -> Iterator[Guarded]:
    with Guarded() as hosts:
        yield hosts


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_policies(crossroads: Guarded, block: int) -> None:
    reasons: Counter[str] = Counter()
    ended: Counter[bool] = Counter()
    through: list[Exchange] = []
    for number in range(block, POLICIES, BLOCKS):
        random = random_of(number)
        written = random_policy(random)
        probes = random_probes(random, PROBES)
        fates = [fate(written, probe) for probe in probes]
        policy = policy_of(written)
        for probe, expected in zip(probes, fates, strict=True):
            found = disagreement(policy, probe, expected)
            assert found is None, told(written, probe, expected, found)
        if random.random() < 0.1:
            crossroads.restart()
        crossroads.enforce(written)
        ended.update(judge_open(crossroads, written, through))
        through = judge(crossroads, written, probes, fates)
        reasons.update(f"{each.reason} {each.arrival is not None}" for each in fates)
    for reason in ("rule True", "rule False", "default False", "spoofed False", "forward True"):
        assert reasons[reason], reasons  # or the comparison would not mean much
    assert min(ended[True], ended[False]) > POLICIES / BLOCKS, ended


def judge(
    crossroads: Guarded, written: Written, probes: list[Probe], fates: list[Fate]
) -> list[Exchange]:
    """Send the packets, and answers to those that arrive; return those that were answered."""
    found = crossroads.pass_through(probes)
    through: list[Exchange] = []
    for probe, expected, seen in zip(probes, fates, found, strict=True):
        arrival = None if seen is None else seen.arrival
        assert arrival == expected.arrival, told(written, probe, expected, seen)
        # The host answers by itself.
        if seen is not None and seen.at != HOST and comes_back(written, probe, seen.arrival):
            through.append((probe, seen))
    answers = crossroads.answer(seen for _, seen in through)
    for (probe, seen), answer in zip(through, answers, strict=True):
        back = answer and (answer.at, answer.packet.source, answer.packet.destination)
        assert back == (probe.enters, probe.destination, probe.source), told(
            written, probe, fate(written, probe), f"{seen}, answered {answer}"
        )
    return through


def judge_open(crossroads: Guarded, written: Written, through: list[Exchange]) -> Iterator[bool]:
    """Answer once more what began under the policy before; yield which of them were ended."""
    answers = crossroads.answer(seen for _, seen in through)
    for (probe, seen), answer in zip(through, answers, strict=True):
        expected = goes_on(written, probe, seen.arrival, seen.packet.source_port)
        if expected is not None:
            assert (answer is not None) is expected, told(
                written, probe, fate(written, probe), f"{seen}, answered once more {answer}"
            )
            yield not expected
