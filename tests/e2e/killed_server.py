"""Kill a server while it writes what it is asked for, and look at what it knows afterwards.

Usage: killed_server.py SERVER SEED KILLS; prints how many writes were acknowledged. The folders are
those of the environment, the network namespace is the server's.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from itertools import cycle
from random import Random
from threading import Event, Thread
from typing import TYPE_CHECKING

from wgbind import NewPeer, Server, WgbindError
from wgbind.store import PeerChanges

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 3
MOST_WRITES = 6
"""Before which it is killed."""


def write(server: Server, told: list[int], gone: Event) -> None:
    """Add, change and remove peers until the server is gone; tell what the batch has come to."""
    names = [f"b{each}" for each in range(BATCH)]
    changes = PeerChanges(persistent_keepalive=1, enabled=False)
    steps: list[Callable[[], object]] = [
        lambda: server.peers.add_many([NewPeer(name) for name in names]),
        lambda: server.peers.update_many(dict.fromkeys(names, changes)),
        lambda: server.peers.remove_many(names),
    ]
    for number, step in cycle(enumerate(steps, 1)):
        # Without a server, the same calls would go on by themselves.
        if gone.is_set():
            return
        try:
            step()
        except WgbindError:
            return
        told.append(number)


def progress(server: Server) -> int:
    """Return how far the one batch is that there may be: all of it must be the same."""
    peers = server.peers.list()
    if not peers:
        return 3
    assert len(peers) == BATCH, peers
    (state,) = {(peer.enabled, peer.persistent_keepalive > 0) for peer in peers}
    return {(True, False): 1, (False, True): 2}[state]


def main(name: str, seed: int, kills: int) -> None:
    random = Random(seed)  # noqa: S311  not for secrets
    server = Server(name)
    writes = 0
    for _ in range(kills):
        pid = server.spawn()
        told: list[int] = []
        gone = Event()
        writer = Thread(target=write, args=(server, told, gone))
        writer.start()
        before = random.randrange(MOST_WRITES)
        while len(told) < before and writer.is_alive():
            time.sleep(0.001)
        time.sleep(random.random() * 0.02)
        os.kill(pid, signal.SIGKILL)
        gone.set()
        while server.pid() is not None:
            time.sleep(0.001)
        writer.join()
        last = told[-1] if told else 3
        found = progress(server)
        # What was told, or the write behind it, of which no word came any more.
        assert found in (last, last % 3 + 1), (last, found)
        writes += len(told)
        server.peers.remove_many([peer.name for peer in server.peers.list()])
    print(writes)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
