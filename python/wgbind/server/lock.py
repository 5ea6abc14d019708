"""One process per server: a lock on a file that the kernel releases when the process dies."""

import fcntl
import os
from pathlib import Path
from time import monotonic, sleep

from wgbind.errors import PrivilegeError, StateError

# Who takes back what a killed server left holds the lock for a moment; who wants it waits that out.
_PATIENCE_SECONDS = 0.5
# The holder writes its number just after it has the lock; on a busy machine that may take a while.
_NAMING_SECONDS = 10.0


class Lock:
    """The lock on one server, from `acquire` to `release`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(
        cls, path: Path, seconds: float = _PATIENCE_SECONDS, refusal: str | None = None
    ) -> "Lock":
        """Take the lock at `path` and write this process's number into it.

        Args:
            path: Its file.
            seconds: How long another process is waited for.
            refusal: What to say if that is too short; by default that the server runs.

        Raises:
            StateError: another process holds it.
            PrivilegeError: the file may not be opened.
        """
        deadline = monotonic() + seconds
        while True:
            descriptor = _open(path, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held = not _is_free(descriptor)
                os.close(descriptor)
                if held and monotonic() > deadline:
                    raise StateError(
                        refusal
                        or f"{path.stem} runs already (pid {holder(path)});"
                        f" `wgbind server stop {path.stem}` stops it"
                    ) from None
                sleep(0.02)
                continue
            if not _is_at(descriptor, path):
                os.close(descriptor)
                continue
            if os.fstat(descriptor).st_size > 0:
                # Of a holder that was killed; nobody is to read its number for ours.
                path.unlink()
                os.close(descriptor)
                continue
            os.write(descriptor, f"{os.getpid()}\n".encode())
            return cls(path, descriptor)

    def release(self) -> None:
        """Remove the file and let the lock go."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def holder(path: Path) -> int | None:
    """Return the number of the process that holds the lock at `path`, None if none does.

    Raises `PrivilegeError` if the file may not be opened.
    """
    try:
        descriptor = _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return None if _is_free(descriptor) else _read_pid(descriptor)
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    """Whether nobody holds the lock, though others may ask so at the same time."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o600)
    except PermissionError:
        raise PrivilegeError(f"{path}: not allowed; run it as root, such as with sudo") from None


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the locked file is still the one that others find: its holder removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _read_pid(descriptor: int) -> int:
    deadline = monotonic() + _NAMING_SECONDS
    while monotonic() < deadline:
        text = os.pread(descriptor, 32, 0)
        if text.endswith(b"\n"):
            return int(text)
        sleep(0.005)
    raise StateError("the lock has a holder that does not say who it is")
