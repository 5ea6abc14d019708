"""Files of keys, that of a server's private key above all: one line, as `wg genkey` writes it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wgbind.errors import (
    ConflictError,
    KeyFormatError,
    NotFoundError,
    PrivilegeError,
    SettingsError,
)
from wgbind.keys import PrivateKey
from wgbind.settings.files import atomic_write, exposure

if TYPE_CHECKING:
    from pathlib import Path

    from wgbind.settings.model import ServerSettings
    from wgbind.settings.paths import Paths

_LONGEST = 128  # bytes; a key has 44, or 64 in hexadecimal


def private_key_path(paths: Paths, settings: ServerSettings) -> Path:
    """Return where the server's key is; the settings' path is relative to their own file."""
    return paths.settings.parent / (settings.interface.private_key_file or paths.private_key)


def read_private_key(path: Path) -> PrivateKey:
    """Read a private key from a file that is closed to other users.

    Raises `SettingsError` for a file that others may read or change, or that holds no key,
    `NotFoundError` and `PrivilegeError`.
    """
    try:
        return PrivateKey(read_key_file(path, "private key"))
    except KeyFormatError:
        raise SettingsError(
            f"{path}: it holds no private key; `wgbind key gen` makes one"
        ) from None


def create_private_key(path: Path) -> PrivateKey:
    """Make a new private key and its file, mode 0600; the folder must exist.

    Raises as `create_key_file` does.
    """
    private_key = PrivateKey.generate()
    create_key_file(path, private_key.reveal(), "private key")
    return private_key


def read_key_file(path: Path, what: str) -> str:
    """Read the line in the file of a key, which is closed to other users; `what` names it.

    Raises `KeyFormatError` for what is not even text, and as `read_private_key` does.
    """
    try:
        with path.open("rb") as file:
            problem = exposure(os.fstat(file.fileno()))
            data = file.read(_LONGEST)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: there is no such {what}; restore it") from None
    except PermissionError:
        raise PrivilegeError(f"{path}: you may not read the {what}; run as root") from None
    except OSError as error:
        raise SettingsError(f"{path}: {what}: {error.strerror}; name a plain file") from None
    if problem is not None:
        raise SettingsError(f"{path}: {what}: {problem}")
    try:
        return data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise KeyFormatError(f"{path}: it holds no key") from None


def create_key_file(path: Path, key: str, what: str) -> None:
    """Make the file of a new key, mode 0600; the folder must exist. `what` names the key.

    Raises `ConflictError` if there is a file already, `PrivilegeError`, and `SettingsError` if it
    cannot be written.
    """
    write_key_file(path, key, what, replace=False)


def write_key_file(path: Path, key: str, what: str, *, replace: bool) -> None:
    """Write the file of a key, mode 0600, atomically; the folder must exist.

    Raises as `create_key_file` does; `ConflictError` only if it shall not `replace` a file.
    """
    try:
        atomic_write(path, f"{key}\n".encode(), 0o600, replace=replace)
    except FileExistsError:
        raise ConflictError(f"{path}: there is a {what} already; it stays") from None
    except PermissionError:
        raise PrivilegeError(f"{path}: you may not write the {what}; run as root") from None
    except OSError as error:
        raise SettingsError(f"{path}: {what}: {error.strerror}; check the folder") from None
