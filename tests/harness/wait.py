"""Waiting for what has to come, never for a time."""

import time
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds: far more than anything takes on a busy machine, so that only what is wrong is late."""


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait until `condition()` holds; fail, with the words `what`, if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
