"""System calls of one thread that fail, as strace (its option `inject`) has them fail."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

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
    tasks = Path(f"/proc/{pid}/task").iterdir()
    (thread,) = (task for task in tasks if (task / "comm").read_text().startswith(role))
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
