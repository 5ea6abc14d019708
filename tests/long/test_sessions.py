"""Sessions that grow old, beside wireguard-go: what takes minutes (`make test-long`).

    client ── uplink ─────────────── uplink ── server
    10.7.0.1, fd07::1     PORT       10.7.0.2, fd07::2

The simulation on a virtual clock does all this in each test run, against ourselves.
"""

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from harness import ping, udp_stream
from interop.pairs import GO, OURS, PAIRS, Outer, Pair, pair

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

REKEY_AFTER_TIME = 120
"""Seconds after which the initiator renews a session that it uses."""

REJECT_AFTER_TIME = 180
"""Seconds after which a session ends (the paper, section 6.1); three times that erases it."""

STREAM_SECONDS = 65
"""More than twice the 30 s within which a peer was reported to go deaf."""


@pytest.mark.parametrize("outer", ["ipv4", "ipv6"])
@pytest.mark.parametrize("seconds", [REJECT_AFTER_TIME + 20, 3 * REJECT_AFTER_TIME + 20])
@pytest.mark.parametrize("first", ["client", "server"])
@pytest.mark.parametrize("programs", PAIRS)
def test_idle(programs: tuple[str, str], first: str, seconds: int, outer: Outer) -> None:
    """The first packet after a long silence is answered, whoever sends it."""
    with pair(programs, outer) as hosts:
        assert ping(hosts.client.host, "10.7.0.2", count=3, deadline=10).lost == 0
        handshake = hosts.client.latest_handshake(hosts.server)
        time.sleep(seconds)
        end, address = {
            "client": (hosts.client, "10.7.0.2"),
            "server": (hosts.server, "10.7.0.1"),
        }[first]
        assert ping(end.host, address, count=20, interval=0.2, deadline=10).lost == 0
        assert hosts.client.latest_handshake(hosts.server) > handshake + REJECT_AFTER_TIME


@pytest.mark.parametrize("keys", ["one key", "three keys"])
@pytest.mark.parametrize("programs", PAIRS)
def test_rekeying_loses_no_packet(programs: tuple[str, str], keys: str) -> None:
    """Two new sessions under traffic both ways, at 120 s and 240 s, without one lost ping."""
    with pair(programs) as hosts:
        assert ping(hosts.client.host, "10.7.0.2", count=1, deadline=10).lost == 0
        handshakes = Handshakes(hosts)
        count = 2650
        pings = [
            end.host.popen(["ping", "-n", "-q", "-i", "0.1", "-c", str(count), "-W", "10", address])
            for end, address in ((hosts.client, "fd07::2"), (hosts.server, "10.7.0.1"))
        ]
        if keys == "three keys":
            for _ in range(2):
                time.sleep(REKEY_AFTER_TIME / 2)
                hosts.change_key()
        for process in pings:
            output, _ = process.communicate(timeout=600)
            assert f"{count} packets transmitted, {count} received" in output
        # A busy wireguard-go may shake hands again after 5 s (`Client.settled_handshake`).
        assert len(set(handshakes.stop()["client"])) >= 3


@pytest.mark.parametrize("way", ["up", "down", "both"])
@pytest.mark.parametrize("programs", [*PAIRS, (OURS, OURS), (GO, GO)])
def test_nobody_goes_deaf_after_a_handshake(programs: tuple[str, str], way: str) -> None:
    """Each datagram of a minute after a handshake arrives, sent one way only or both ways."""
    with pair(programs) as hosts, ExitStack() as stack:
        client, server = hosts.client, hosts.server
        assert ping(client.host, "10.7.0.2", count=1, deadline=10).lost == 0
        handshakes = Handshakes(hosts)
        ends = {
            "up": (client.host, server.host, "10.7.0.2"),
            "down": (server.host, client.host, "10.7.0.1"),
        }
        streams = {
            name: udp_stream(*ends[name], rate=100, life=2 * STREAM_SECONDS)
            for name in (ends if way == "both" else [way])
        }
        time.sleep(STREAM_SECONDS)
        seen: dict[str, Any] = {"programs": programs}
        for name, stream in streams.items():
            sent, lost = stream.stop()
            seen[name] = {"sent": sent, "lost": lost}
        seen["handshakes"] = handshakes.stop()
        stack.close()
        record(f"{programs[0]} to {programs[1]} {way}", seen)
        for name in streams:
            assert seen[name]["sent"] > 50 * STREAM_SECONDS
            assert seen[name]["lost"] == []


@pytest.mark.parametrize("programs", [*PAIRS, (OURS, OURS)])
def test_a_question_now_and_then_is_answered(programs: tuple[str, str]) -> None:
    """One every 3 s beside a keepalive every 25 s: what was reported to fail (boringtun 495)."""
    with pair(programs) as hosts:
        hosts.client.set_peer(hosts.server, keepalive=25)
        count = 2 * STREAM_SECONDS // 3
        asked = ping(
            hosts.client.host, "10.7.0.2", count=count, interval=3, deadline=10, timeout=300
        )
        assert asked.lost == 0


@pytest.mark.parametrize("step", [86_400, -86_400], ids=["forward", "back"])
@pytest.mark.parametrize("programs", PAIRS)
def test_a_clock_that_is_set(programs: tuple[str, str], step: int, tmp_path: Path) -> None:
    """Our host's clock jumps by a day: sessions go on, and so does their renewal.

    wireguard-go asks the kernel for the time directly, so that only our clock jumps.
    """
    clock = tmp_path / "clock"
    clock.write_text("+0")
    libraries = [str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
    assert libraries, "run `make test-long`, which installs faketime"
    env = {
        "LD_PRELOAD": libraries[0],
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with pair(programs, env=env) as hosts:
        assert ping(hosts.client.host, "10.7.0.2", count=1, deadline=10).lost == 0
        clock.write_text(f"{step:+d}")
        count = 1500
        command = ["ping", "-n", "-q", "-i", "0.1", "-c", str(count), "-W", "10", "10.7.0.2"]
        output, _ = hosts.client.host.popen(command).communicate(timeout=600)
        assert f"{count} packets transmitted, {count} received" in output
        ours = hosts.client if programs[0] == OURS else hosts.server
        other = hosts.server if ours is hosts.client else hosts.client
        assert abs(time.time() + step - ours.latest_handshake(other)) < 600


class Handshakes:
    """The times of both ends' latest handshakes, looked at each second."""

    def __init__(self, hosts: Pair) -> None:
        self._hosts = hosts
        self._seen: dict[str, list[int]] = {"client": [], "server": []}
        self._over = Event()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def stop(self) -> dict[str, list[int]]:
        """End it; return the times, in the order of their being seen."""
        self._over.set()
        self._thread.join()
        return self._seen

    def _run(self) -> None:
        client, server = self._hosts.client, self._hosts.server
        while not self._over.wait(1):
            for name, end, other in (("client", client, server), ("server", server, client)):
                at = end.latest_handshake(other)
                if self._seen[name][-1:] != [at]:
                    self._seen[name].append(at)


def record(name: str, seen: dict[str, Any]) -> None:
    """Keep what was seen, if a folder is given for it."""
    folder = os.environ.get("WGBIND_EVIDENCE")
    if folder is not None:
        Path(folder, f"{name}.json").write_text(json.dumps(seen))
