"""Twenty processes that change one server's peers at once, half of them by the command line.

Usage: many_writers.py COUNT PEERS; prints what failed. Its folders are those of the environment.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from wgbind import Peer, Server
from wgbind.cli import app


def by_command(number: int, peers: int) -> None:
    """Do it as a person does, but for the start of the interpreter."""
    name = f"w{number}"
    for each in range(peers):
        command("add", f"{name}-{each}", "--no-qr")
    command("set", "shared", "--group", f"g{number}")
    command("set", f"{name}-0", "--description", name, "--keepalive", str(number + 1))
    command("disable", f"{name}-1")
    command("remove", f"{name}-2", "--yes")


def command(*arguments: str) -> None:
    sys.argv = ["wgbind", "peer", *arguments]
    code = app.run()
    if code:
        raise SystemExit(code)


def by_library(number: int, peers: int) -> None:
    """Do the same from Python."""
    name = f"w{number}"
    shared = Server("wg0").peers
    for each in range(peers):
        shared.add(f"{name}-{each}")
    shared.regroup("shared", join=[f"g{number}"])

    def edit(old: Peer) -> Peer:
        return replace(old, description=name, persistent_keepalive=number + 1)

    shared.edit(f"{name}-0", edit)
    shared.disable(f"{name}-1")
    shared.remove(f"{name}-2")


def fork(work: Callable[[], None], gate: int, opener: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.close(opener)
        os.read(gate, 1)  # until all are there, and nobody could write any more
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        work()
        code = 0
    finally:
        os._exit(code)


def main(count: int, peers: int) -> None:
    gate, opener = os.pipe()
    ways = (by_command, by_library)
    pids = [fork(partial(ways[number % 2], number, peers), gate, opener) for number in range(count)]
    os.close(opener)
    failed = [number for number, pid in enumerate(pids) if os.waitpid(pid, 0)[1]]
    print(*failed)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
