"""Writers of one SQLite file, one after the other, in the order in which they came.

SQLite lets those that wait try again now and then, so that of twenty busy ones some get no turn for
as long as they wait. The kernel keeps a queue for locks on files (flock(2)); a lock of a folder
needs no file of its own, and is none of those that SQLite takes on its files.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from wgbind.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Turns:
    """The queue of those who write to files in a folder.

    Args:
        folder: It must be there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def taken(self, seconds: float) -> Iterator[None]:
        """Have a turn; wait for it at most `seconds`, else raise `StoreError`."""
        try:
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"store in {self._folder}: {error.strerror}") from None
        turn = _Turn(descriptor)
        if not turn.take(seconds):
            raise StoreError(
                f"store in {self._folder}: it is locked; other processes have kept it for "
                f"{seconds:g} seconds; try again"
            )
        try:
            yield
        finally:
            turn.end()


class _Turn:
    """A place in the queue."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = Lock()
        self._come = Event()
        self._given_up = False

    def take(self, seconds: float) -> bool:
        """Wait for it; false if it did not come in time, and it is given up then."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # The kernel knows no end of waiting: a thread of its own waits, and is left to it.
            Thread(target=self._wait, name="wgbind-turn", daemon=True).start()
            self._come.wait(seconds)
            with self._lock:
                self._given_up = not self._come.is_set()
            return not self._given_up
        except OSError:
            pass  # a file system without such locks; SQLite's own do, if not in order
        return True

    def end(self) -> None:
        """Let the next one."""
        os.close(self._descriptor)

    def _wait(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._lock:
            if self._given_up:
                self.end()
            else:
                self._come.set()
