"""While policies change, a packet meets the old one or the new one.

One that came to the server by the old one may still be dropped by the new one, and if they agree
about it, nothing else than they say becomes of it.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from net.crossroads import Crossroads
from net.judged import SEED, policy_of, random_of, told
from net.oracle import fate
from net.random_policy import random_policy, random_probes
from wgbind.firewall.compile import compile_policy
from wgbind.firewall.nftables import NfTables, cut
from wgbind.firewall.table import difference, stages

if TYPE_CHECKING:
    from net.written import Written
    from wgbind.firewall.compile import Compiled
    from wgbind.firewall.table import Table

CHANGES = 25
"""How often each of the pairs of policies takes turns."""

PAIRS = 6
PROBES = 100

STEPPED = 20
"""How many policies follow each other step by step."""

# Another process, for the kernel to have both to do at once.
TAKE_TURNS = """
import sys
from net.judged import policy_of, random_of
from net.random_policy import random_policy
from wgbind.firewall.apply import Firewall

tunnel, changes = sys.argv[1], int(sys.argv[2])
with Firewall(tunnel) as firewall:
    for line in sys.stdin:
        random = random_of(int(line))
        policies = [policy_of(random_policy(random), tunnel) for _ in range(2)]
        firewall.apply(policies[0])
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(1, changes):
            firewall.apply(policies[number % 2])
        print("done", flush=True)
"""


def test_each_step_of_a_change_is_one_policy_or_the_other() -> None:
    seen: Counter[bool] = Counter()
    with Crossroads() as crossroads, crossroads.server.call(NfTables) as kernel:
        table: Table | None = None
        compiled: Compiled | None = None
        before: Written | None = None
        for number in range(STEPPED):
            random = random_of(number)
            written, probes = random_policy(random), random_probes(random, PROBES)
            compiled = compile_policy(policy_of(written, crossroads.tunnel), compiled)
            for step in stages(table, compiled.table):
                for transaction in cut(difference(table, step)):
                    kernel.commit(transaction)
                table = step
                if before is None:
                    continue
                found = crossroads.pass_through(probes)
                for probe, arrived in zip(probes, found, strict=True):
                    fates = [fate(policy, probe) for policy in (before, written)]
                    expected = {each.arrival for each in fates}
                    arrival = None if arrived is None else arrived.arrival
                    assert arrival in expected or (arrival is None and len(expected) > 1), told(
                        before, probe, fates[0], (written, arrived)
                    )
                    seen[arrival is not None] += len(expected) == 1
            before = written
    assert min(seen[True], seen[False]) > STEPPED * PROBES / 10


def test_each_packet_meets_one_policy() -> None:
    agreed: Counter[bool] = Counter()
    with Crossroads() as crossroads:
        argv = [sys.executable, "-c", TAKE_TURNS, crossroads.tunnel, str(CHANGES)]
        tests = str(Path(__file__).parent.parent)
        environment = {**os.environ, "PYTHONPATH": tests, "WGBIND_TEST_SEED": SEED}
        changer = crossroads.server.popen(
            argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        assert changer.stdin is not None
        assert changer.stdout is not None
        for number in range(PAIRS):
            random = random_of(number)
            policies = random_policy(random), random_policy(random)
            probes = random_probes(random, PROBES)
            # Unanswered they stay new to the kernel, and it tracks no more connections than these.
            questions = [(probe.enters, crossroads.question(probe)) for probe in probes]
            fates = [[fate(written, probe).arrival for written in policies] for probe in probes]
            for word in ("ready\n", "done\n"):
                changer.stdin.write(f"{number}\n")
                changer.stdin.flush()
                while word == "done\n" and not select.select([changer.stdout], [], [], 0)[0]:
                    found = crossroads.deliver(questions)
                    for probe, expected, seen in zip(probes, fates, found, strict=True):
                        arrival = None if seen is None else seen.arrival
                        agree = expected[0] == expected[1]
                        assert arrival in expected or (arrival is None and not agree), told(
                            policies[0], probe, fate(policies[0], probe), (policies[1], seen)
                        )
                        agreed[seen is not None] += agree
                assert changer.stdout.readline() == word, changer.communicate()[1]
    # About these packets both policies agreed; many of them were let through, many were not.
    assert min(agreed[True], agreed[False]) > PAIRS * PROBES
