"""Kill processes that write at full speed, at random moments, and look at what they leave.

Usage: killed_writer.py DATABASE KEY-FILE SEED KILLS

Each process does the same steps in the same order and tells of each one that is done. What is found
after its end must be what the steps that it told of make, or those and the one after them. It is
forked from this process, which has imported all and holds no connection: that takes milliseconds.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_interface
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from wgbind.keys import PrivateKey
from wgbind.store import Peer, Store
from wgbind.store.history import Entry, History
from wgbind.store.peer import PeerFields

if TYPE_CHECKING:
    from wgbind.settings.address import Address

POOLS = (ip_interface("10.8.0.1/16"), ip_interface("fd00::1/64"))
BATCH = 4
MOST_STEPS = 12
"""Before which one is killed."""
KEYS = [PrivateKey.generate() for _ in range(3 * MOST_STEPS * BATCH)]

State = dict[str, tuple[int, bool, int]]
"""Of each peer by its name: its keepalive, whether it is enabled, and what it received."""


def steps(store: Store | None, state: State) -> Iterator[None]:
    """Do one step after the other; without a store, only in `state`."""
    keys = iter(KEYS)
    for number in range(len(KEYS) // BATCH):
        names = [f"b{number}-{each}" for each in range(BATCH)]
        if store is not None:
            store.add_peers("wg0", [(name, fields(next(keys))) for name in names], pools=POOLS)
        state |= dict.fromkeys(names, (0, True, 0))
        yield
        if store is not None:
            change = partial(replace, persistent_keepalive=number + 1, enabled=False)
            store.edit_peers("wg0", [(name, change) for name in names], pools=POOLS)
        state |= dict.fromkeys(names, (number + 1, False, 0))
        yield
        if store is not None:
            peers = store.changes("wg0").peers.items()
            store.record(
                [
                    (Entry(row_id, peer.created_at), History(rx_bytes=7))
                    for row_id, peer in peers
                    if peer.name in names
                ]
            )
        state |= dict.fromkeys(names, (number + 1, False, 7))
        yield
        if number % 2:
            if store is not None:
                store.remove_peers("wg0", names)
            for name in names:
                del state[name]
            yield


def fields(private_key: PrivateKey) -> PeerFields:
    return {"public_key": private_key.public_key(), "private_key": private_key}


def write(url: str, key_file: Path, told: int) -> None:
    """Do all the steps; write a byte for each that is done."""
    with Store(url, key_file) as store:
        for _ in steps(store, {}):
            os.write(told, b".")


def killed(url: str, key_file: Path, random: Random) -> int:
    """Kill a process while it writes; return how many steps it told of."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        with suppress(BaseException):
            write(url, key_file, writer)
        os._exit(0)
    os.close(writer)
    told = 0
    for _ in range(random.randrange(MOST_STEPS)):
        told += len(os.read(reader, 1))
    time.sleep(random.random() * 0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while rest := os.read(reader, 4096):
        told += len(rest)
    os.close(reader)
    return told


def found(peers: list[tuple[Peer, History]]) -> State:
    return {
        peer.name: (peer.persistent_keepalive, peer.enabled, history.rx_bytes)
        for peer, history in peers
    }


def after(count: int) -> State:
    state: State = {}
    for _ in islice(steps(None, state), count):
        pass
    return state


def main(path: str, key_file: Path, seed: int, kills: int) -> None:
    random = Random(seed)  # noqa: S311  not for secrets
    url = f"sqlite:///{path}"
    begun = untold = 0
    for _ in range(kills):
        told = killed(url, key_file, random)
        with Store(url, key_file) as store:
            state = found(store.known("wg0"))
            assert state in (after(told), after(told + 1)), (told, state)
            begun += told > 0
            untold += state != after(told)
            addresses: list[Address] = []
            for peer in store.peers("wg0"):
                addresses += peer.addresses
                assert [each.version for each in peer.addresses] == [4, 6]
                assert peer.private_key is not None
                assert peer.private_key.public_key() == peer.public_key
            assert len(set(addresses)) == len(addresses)
            store.remove_peers("wg0", list(state))
    print(begun, untold)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
