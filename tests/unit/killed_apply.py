"""Kill a process that applies a document at each file that it touches; look at what is left.

Usage: killed_apply.py; prints how often it was killed. The folders are those of the environment.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wgbind import ConflictError, Server

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = str(Path(os.environ["WGBIND_CONFIG_DIR"]).parent)
_TOUCHES = {"open", "os.remove", "os.rename"}

POLICY = {"preset": ["isolated"], "groups": ["new"]}
OLD = {"settings": {"policy": {"groups": ["old"]}}, "peers": {"a": {"groups": ["old"]}, "c": {}}}
NEW = {
    "settings": {"policy": POLICY},
    "peers": {"a": {"groups": ["new"]}, "b": {"groups": ["new"]}},
}


def killed(number: int, work: Callable[[], object]) -> bool:
    """Do the work in a process that is killed when it touches the file of that number."""
    pid = os.fork()
    if pid == 0:
        touched = count()

        def kill(event: str, arguments: tuple[Any, ...]) -> None:
            ours = event in _TOUCHES and str(arguments[0]).startswith(FOLDER)
            if ours and next(touched) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kill)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status != 0


def state(server: Server) -> tuple[tuple[str, ...], dict[str, frozenset[str]]]:
    """Return the groups of the settings, and those of each peer."""
    groups = server.configuration().settings.policy.groups
    return groups, {peer.name: peer.groups for peer in server.peers.list()}


def changed(server: Server) -> int:
    """Kill who changes a server, until nothing is left to be killed; return how often."""
    old = (("old",), {"a": frozenset({"old"}), "c": frozenset()})
    new = (("new",), {"a": frozenset({"new"}), "b": frozenset({"new"})})
    for number in count():
        server.apply(OLD, prune=True)
        assert state(server) == old
        ended = not killed(number, lambda: server.apply(NEW, prune=True))
        found = state(server)
        assert found == new if ended else found in (old, new), (number, found)
        assert not server.paths.journal.exists()
        if ended:
            return number
    raise AssertionError


def made(server: Server) -> int:
    """The same with a server that the document makes."""
    paths = server.paths
    for number in count():
        paths.settings.unlink()
        paths.private_key.unlink()
        for file in paths.state_dir.iterdir():
            file.unlink()
        ended = not killed(number, lambda: server.apply(NEW))
        try:
            server.init()
        except ConflictError:
            assert state(server) == (("new",), dict.fromkeys("ab", frozenset({"new"})))
        else:
            assert not ended
            assert server.peers.list() == []
        if ended:
            return number
    raise AssertionError


if __name__ == "__main__":
    server = Server("wg0")
    server.init()
    print(changed(server), made(server))
