"""Kill a server at random moments while it writes what its API is asked for; look what is left.

Usage: killed_server.py SERVER SEED KILLS SECONDS

It kills so often, or until the time is over, and once at least. It prints how often it did, how
many writes were acknowledged, how many were done of which no word came any more, and how often
settings were on their way. The folders are those of the environment, the network namespace is the
server's.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from random import Random
from threading import Thread
from typing import TYPE_CHECKING, Any

from wgbind import RemoteServer, Server, StateError, connect

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ["b0", "b1", "b2"]
MOST_WRITES = 8
"""Behind which it is killed, in the next one; they are one at least."""


def document(group: str) -> dict[str, Any]:
    """Say that there is this group alone, and these peers in it alone."""
    peer = {"groups": [group], "enabled": True, "persistent_keepalive": 0, "description": ""}
    return {"settings": {"policy": {"groups": [group]}}, "peers": dict.fromkeys(NAMES, peer)}


def change(server: RemoteServer) -> None:
    """Change peers in several ways in one transaction."""
    with server.peers.transaction() as transaction:
        for name in NAMES:
            transaction.update(name, persistent_keepalive=1)
            transaction.rotate(name)
            transaction.disable(name)


STEPS: list[Callable[[RemoteServer], object]] = [
    lambda server: server.apply({**document("one"), "peers": {}}, prune=True),
    lambda server: server.peers.add(NAMES[0], groups=["one"]),
    lambda server: server.apply(document("one")),
    change,
    lambda server: server.peers.update(NAMES[1], description="changed"),
    lambda server: server.apply(document("two")),
    lambda server: server.peers.remove_many(NAMES[:2]),
]
"""Each leads from what the one before it leaves, the first from what the last leaves."""

PLAIN, CHANGED = (True, 0, ""), (False, 1, "")
STATES: list[tuple[str, dict[str, tuple[bool, int, str]]]] = [
    ("one", {}),
    ("one", {NAMES[0]: PLAIN}),
    ("one", dict.fromkeys(NAMES, PLAIN)),
    ("one", dict.fromkeys(NAMES, CHANGED)),
    ("one", {**dict.fromkeys(NAMES, CHANGED), NAMES[1]: (False, 1, "changed")}),
    ("two", dict.fromkeys(NAMES, PLAIN)),
    ("two", {NAMES[2]: PLAIN}),
]
"""What each leaves: the one group of the settings, which is that of all peers, and these."""


def state(server: RemoteServer) -> int:
    """Return which step the server is behind; it must be one."""
    (group,) = server.info().groups
    peers = server.peers.list()
    assert {each for peer in peers for each in peer.groups} <= {group}, (group, peers)
    addresses = [address for peer in peers for address in peer.addresses]
    assert len(set(addresses)) == len(addresses) == 2 * len(peers), peers
    found = {
        peer.name: (peer.enabled, peer.persistent_keepalive, peer.description) for peer in peers
    }
    return STATES.index((group, found))


def write(server: RemoteServer, done: int, told: list[int], ended: list[StateError]) -> None:
    """Do one step after the other until the server is gone; tell of each that is done."""
    while not ended:
        done = (done + 1) % len(STEPS)
        try:
            STEPS[done](server)
        except StateError as error:
            ended.append(error)
        else:
            told.append(done)


def killed(server: Server, remote: RemoteServer, pid: int, random: Random) -> list[int]:
    """Write, kill the server meanwhile; return which step it was behind, and those it told of."""
    told = [state(remote)]
    ended: list[StateError] = []
    writer = Thread(target=write, args=(remote, told[0], told, ended))
    writer.start()
    wanted = 1 + random.randrange(MOST_WRITES)
    while len(told) <= wanted and writer.is_alive():
        time.sleep(0.001)
    time.sleep(random.random() * 0.03)
    assert not ended, ended
    os.kill(pid, signal.SIGKILL)
    writer.join()
    # The kernel lets go of the lock and of the interface one after the other.
    while server.pid() is not None or Path("/sys/class/net", server.name).exists():
        time.sleep(0.001)
    return told


def main(name: str, seed: int, most: int, seconds: float) -> None:
    random = Random(seed)  # noqa: S311  not for secrets
    server = Server(name)
    server.apply({**document("two"), "peers": {NAMES[2]: {"groups": ["two"]}}})
    end = time.monotonic() + seconds
    kills = writes = untold = under_way = 0
    told = [len(STEPS) - 1]
    while True:
        pid = server.spawn()
        with connect(name) as remote:
            found = state(remote)
            # What was told last, or the write behind it, of which no word came any more.
            assert found in (told[-1], (told[-1] + 1) % len(STEPS)), (told, found)
            untold += found != told[-1]
            if kills == most or (kills and time.monotonic() > end):
                break
            told = killed(server, remote, pid, random)
        under_way += server.paths.journal.exists()
        kills += 1
        writes += len(told) - 1
    server.stop()
    print(kills, writes, untold, under_way)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
