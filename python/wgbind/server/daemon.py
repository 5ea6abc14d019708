"""A server as a process: signals, log, and how it ended.

`python -m wgbind.server.daemon NAME` goes into the background and returns when
the server works. It is `Server.spawn`'s: an error comes on standard output, its
class on the first line and its message on the second.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from wgbind.detach import detach, redirect
from wgbind.errors import DeviceError, StateError, WgbindError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wgbind.server.server import Server

_log = logging.getLogger("wgbind.server.daemon")

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# How soon a signal is answered that came while the main thread waited.
_TICK_SECONDS = 0.2


def serve(server: Server, ready: Callable[[], None]) -> None:
    """Run `server` in this process until SIGTERM, SIGINT or SIGHUP; call `ready` when it works.

    Must run in the main thread. Raises what `Server.start` raises, and `DeviceError` if the
    server ended by itself.
    """
    asked_to_stop = False

    def ask(_number: int, _frame: object) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True

    # A flag and no exception: starting and stopping are never broken off half way.
    for number in _SIGNALS:
        signal.signal(number, ask)
    with server:
        ready()
        reason = None
        while not asked_to_stop and reason is None:
            reason = server.wait(_TICK_SECONDS)
    if reason is not None:
        raise DeviceError(f"{server.name} ended by itself: {reason}")


def log_to_stderr() -> None:
    """Send the log lines of server and data plane to standard error, with their time."""
    from wgbind import _native

    # In place of the command line's own.
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    logging.getLogger("wgbind").setLevel(logging.INFO)
    _native.log_to_stderr("warn")


def main() -> None:
    """Run the server that the command line names, in the background."""
    readiness = detach(_report)
    # Only now: the fork wants a process without threads, and the parent none of these modules.
    from wgbind.server.server import Server
    from wgbind.settings.files import make_folder

    os.umask(0o077)
    server = Server(sys.argv[1])
    try:
        make_folder(server.paths.run_dir)
        redirect(_open_log(server.paths.log))
        log_to_stderr()
        serve(server, readiness.ready)
    except WgbindError as error:
        if not readiness.failed(error):
            _log.error("%s", error)
        sys.exit(error.exit_code)
    except Exception:  # noqa: BLE001  whoever waits must hear of it
        _log.exception("a mistake in wgbind")
        readiness.failed(StateError(f"it failed by a mistake in wgbind; see {server.paths.log}"))
        sys.exit(1)


def _open_log(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateError(f"log {path}: {error.strerror}") from error


def _report(error: WgbindError) -> None:
    print(type(error).__name__, error, sep="\n")  # noqa: T201 (to `Server.spawn`)


if __name__ == "__main__":
    main()
