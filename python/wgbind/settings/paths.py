"""Where the files of one server are."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from wgbind.errors import InputError

_INTERFACE_NAME = re.compile(r"[a-zA-Z0-9_=+.-]{1,15}")


def parse_interface_name(text: str) -> str:
    """Return `text` if it is the name of an interface as wg-quick(8) takes it.

    Raises `InputError`. The kernel keeps such a name in 16 bytes (IFNAMSIZ) and the name is part
    of paths, hence no "/" and neither "." nor "..".
    """
    if _INTERFACE_NAME.fullmatch(text) is None or text in {".", ".."}:
        raise InputError(
            f"interface name {text!r}: use 1 to 15 of the characters a-z A-Z 0-9 _ = + . -"
        )
    return text


@dataclass(frozen=True)
class Paths:
    """The files of the server on the interface `name`."""

    name: str
    config_dir: Path
    state_dir: Path
    run_dir: Path

    def __post_init__(self) -> None:
        parse_interface_name(self.name)

    @classmethod
    def of(cls, name: str) -> Paths:
        """Take the folders from WGBIND_CONFIG_DIR, WGBIND_STATE_DIR and WGBIND_RUN_DIR.

        Raises `InputError` for a bad interface name.
        """
        return cls(
            name,
            config_dir=_folder("WGBIND_CONFIG_DIR", "/etc/wgbind"),
            state_dir=_folder("WGBIND_STATE_DIR", "/var/lib/wgbind"),
            run_dir=_folder("WGBIND_RUN_DIR", "/run/wgbind"),
        )

    @property
    def settings(self) -> Path:
        """The settings, TOML."""
        return self.config_dir / f"{self.name}.toml"

    @property
    def journal(self) -> Path:
        """New settings until they are in their place, JSON; see `server.journal`."""
        return self.config_dir / f"{self.name}.toml.new"

    @property
    def private_key(self) -> Path:
        """The server's private key, unless the settings name another file."""
        return self.config_dir / f"{self.name}.key"

    @property
    def database(self) -> Path:
        """The store of all servers of this host, SQLite."""
        return self.state_dir / "wgbind.db"

    @property
    def stored_keys(self) -> Path:
        """The key of the private keys in the store; no interface's name is so long."""
        return self.config_dir / "stored-private-keys.key"

    @property
    def control_socket(self) -> Path:
        """The Unix socket of the server's API."""
        return self.run_dir / f"{self.name}.sock"

    @property
    def lock(self) -> Path:
        """Locked (flock) while the server runs."""
        return self.run_dir / f"{self.name}.lock"

    @property
    def apply_lock(self) -> Path:
        """Locked (flock) while a document is applied."""
        return self.run_dir / f"{self.name}.apply"

    @property
    def record(self) -> Path:
        """What the server changed on the host and has to restore, JSON."""
        return self.run_dir / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """The log of a detached server."""
        return self.run_dir / f"{self.name}.log"


def _folder(variable: str, default: str) -> Path:
    # An empty variable counts as unset; a relative one must survive the daemon's chdir.
    return Path(os.environ.get(variable) or default).absolute()
