"""New settings that hold together with changes of peers, or not at all, whatever is killed when.

No transaction spans a file and a database. So the settings are first written beside their file,
with a token that the peers' transaction keeps: when it has committed they take their place, else
they go. Whoever finds what a killed process left does the same.
"""

from __future__ import annotations

import json
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wgbind.errors import SettingsError
from wgbind.server import lock
from wgbind.settings import toml
from wgbind.settings.files import atomic_write, make_folder
from wgbind.settings.private_key import write_key_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wgbind.keys import PrivateKey
    from wgbind.settings.paths import Paths

# Ten thousand peers, by the slowest of computers.
_PATIENCE_SECONDS = 60.0


@contextmanager
def alone(paths: Paths) -> Iterator[None]:
    """Let nobody else apply a document to the server in the block.

    Raises `StateError` if somebody does so for a minute.
    """
    make_folder(paths.run_dir)
    refusal = f"another process applies a document to {paths.name}; try again"
    held = lock.Lock.acquire(paths.apply_lock, _PATIENCE_SECONDS, refusal)
    try:
        settle(paths)
        yield
    finally:
        held.release()


def is_left(paths: Paths) -> bool:
    """Tell whether there are settings that a killed process left on their way."""
    try:
        return paths.journal.exists() and lock.holder(paths.apply_lock) is None
    except PermissionError:  # who may not look there is told so by what is read next
        return False


def recover(paths: Paths) -> None:
    """Put settings into their place, or away, that a killed process left on their way.

    Nothing happens while a process lives that is at it. Raises `StoreError` and `SettingsError`.
    """
    if is_left(paths):
        with alone(paths):
            pass


@dataclass(frozen=True)
class Journal:
    """Settings on their way, from `begin` to `settle`; only who is `alone` has one.

    Attributes:
        token: What the transaction has to keep; see `store.Transaction.keep_settings`.
    """

    token: str

    @classmethod
    def begin(cls, paths: Paths, text: str, key: PrivateKey | None) -> Journal:
        """Write the text of settings beside their file, and the key of a server that is new."""
        token = secrets.token_hex(16)
        revealed = None if key is None else key.reveal()
        said = {"token": token, "settings": text, "private_key": revealed}
        atomic_write(paths.journal, json.dumps(said).encode(), 0o600)
        return cls(token)


def settle(paths: Paths) -> None:
    """Put settings that are on their way into their place if their transaction is kept, else away.

    Raises as `recover` does.
    """
    from wgbind.store.store import Store

    try:
        said = json.loads(paths.journal.read_bytes())
        text = said["settings"]
        with Store.open(paths, toml.parse(text, str(paths.journal))) as store:
            kept = store.kept_settings(paths.name) == said["token"]
        if kept:
            if said["private_key"] is not None:
                write_key_file(paths.private_key, said["private_key"], "private key", replace=True)
            atomic_write(paths.settings, text.encode(), 0o600)
        paths.journal.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise SettingsError(f"{error.filename}: {error.strerror}; make it writable") from error
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{paths.journal}: it was changed by hand; remove it") from error
