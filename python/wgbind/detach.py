"""Going into the background, and telling the one who waits how it went.

The parent waits until the child is ready or has failed, and ends with its
outcome: whoever started the program knows, when it returns, that it works.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from wgbind import errors


class Readiness:
    """The child's end of the pipe to the parent that waits.

    Args:
        pipe: File descriptor to write the outcome to.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe: int | None = pipe

    def ready(self) -> None:
        """Let the parent end with exit code 0.

        Raises `StateError` if it does not wait any more: somebody broke it off.
        """
        if not self._tell("ready\n"):
            raise errors.StateError("broken off before it was ready")

    def failed(self, error: errors.WgbindError) -> bool:
        """Let the parent report the error and end with its exit code.

        Returns whether it still waited: after `ready` it does not.
        """
        return self._tell(f"{type(error).__name__}\n{error}")

    def _tell(self, outcome: str) -> bool:
        if self._pipe is None:
            return False
        pipe, self._pipe = self._pipe, None
        try:
            os.write(pipe, outcome.encode())
        except BrokenPipeError:
            return False
        finally:
            os.close(pipe)
        return True


def detach(report: Callable[[errors.WgbindError], None]) -> Readiness:
    """Fork, and return in the child alone, which leads a session of its own.

    Must be called before the process has started a thread. The parent never returns: it ends once
    the child is ready, or hands the child's error to `report` and ends with its exit code.
    """
    readable, writable = os.pipe()
    if os.fork() != 0:
        os.close(writable)
        _wait_and_exit(readable, report)
    os.close(readable)
    os.setsid()
    os.chdir("/")
    return Readiness(writable)


def redirect(output: int | None = None) -> None:
    """Point standard input at /dev/null, and output and errors at `output`, or there too."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    for stream in (1, 2):
        os.dup2(null if output is None else output, stream)
    os.close(null)


def _wait_and_exit(readable: int, report: Callable[[errors.WgbindError], None]) -> NoReturn:
    # Ctrl-C breaks off: the child finds that nobody waits, and ends.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with open(readable, encoding="utf-8") as pipe:
        kind, _, message = pipe.read().partition("\n")
    code = 0
    if kind != "ready":
        error = errors.revive(kind, message or "it ended before it was ready")
        report(error)
        sys.stdout.flush()
        sys.stderr.flush()
        code = error.exit_code
    # Without exit handlers: those belong to the child now.
    os._exit(code)
