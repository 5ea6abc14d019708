"""Files that are written whole or not at all, and files that nobody else may read."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from wgbind.errors import PrivilegeError

if TYPE_CHECKING:
    from pathlib import Path


def atomic_write(path: Path, data: bytes, mode: int, *, replace: bool = True) -> None:
    """Write a file so that a crash leaves the old content or the new one, never a part.

    A new file beside it is filled, synced and renamed; a symlink at `path` is replaced, not
    followed. With `replace=False` an existing file is an error. Raises `OSError`
    (`FileExistsError`). The folder must exist.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # the umask may have taken bits
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    _sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder that its owner alone may enter; one that is there stays as it is.

    Raises `PrivilegeError`, `OSError`.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except PermissionError:
        raise PrivilegeError(f"{path}: you may not make this folder; run as root") from None


def exposure(status: os.stat_result) -> str | None:
    """Say who else could read or change a file with secrets, and the remedy; None if nobody."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        return f"mode {mode:04o} lets other users in; chmod 600 it"
    if status.st_uid not in {0, os.geteuid()}:
        return f"it belongs to user id {status.st_uid}; chown it to {os.geteuid()}"
    return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
