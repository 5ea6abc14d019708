"""System calls of one thread that fail, as strace (its option `inject`) has them fail."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from harness.wait import wait_until

ATTACH_TIMEOUT = 30.0
"""Seconds until strace must have attached, or ended."""


@contextlib.contextmanager
def failing(pid: int, role: str, call: str, error: str) -> Iterator[None]:
    """Have each such call fail until the block is left, or the process has ended.

    The first calls in the block may still succeed: strace has attached, but not yet looked.

    Args:
        pid: The process.
        role: How the name of its thread begins; there is one.
        call: The system call, such as "sendmmsg".
        error: Its error, such as "ENOBUFS".
    """
    thread = _thread(pid, role)
    inject = f"inject={call}:error={error}"
    argv = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
    process = subprocess.Popen([*argv, "-p", thread.name])
    try:
        deadline = time.monotonic() + ATTACH_TIMEOUT
        while "TracerPid:\t0\n" in (thread / "status").read_text():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait(ATTACH_TIMEOUT)


def _thread(pid: int, role: str) -> Path:
    """Wait for the thread, which gives itself its name; others may end meanwhile."""
    found: list[Path] = []

    def is_there() -> bool:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names = Path(f"/proc/{pid}/task").glob("*/comm")
            found[:] = [name.parent for name in names if name.read_text().startswith(role)]
        return bool(found)

    wait_until(is_there, f"the thread {role} of {pid}", ATTACH_TIMEOUT)
    (thread,) = found
    return thread
