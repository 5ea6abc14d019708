"""A server's settings and private key: read from their files, or made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wgbind.errors import ConflictError
from wgbind.net.host import host_view
from wgbind.server.journal import recover
from wgbind.settings import toml
from wgbind.settings.defaults import fresh_settings
from wgbind.settings.files import atomic_write, make_folder
from wgbind.settings.private_key import create_private_key, private_key_path, read_private_key

if TYPE_CHECKING:
    from wgbind.keys import PrivateKey
    from wgbind.settings.model import ServerSettings
    from wgbind.settings.paths import Paths


@dataclass(frozen=True)
class Configuration:
    """What the files of one server say."""

    settings: ServerSettings
    private_key: PrivateKey

    @classmethod
    def load(cls, paths: Paths) -> Configuration:
        """Read settings and key.

        Raises `NotFoundError` for a file that is missing, `SettingsError` for what is wrong in
        one, `PrivilegeError` for one that may not be read; as `journal.recover` does.
        """
        recover(paths)
        settings = toml.load(paths.settings)
        return cls(settings, read_private_key(private_key_path(paths, settings)))

    @classmethod
    def create(cls, paths: Paths) -> Configuration:
        """Write fresh settings that collide with nothing on this host, and a new key.

        Raises `ConflictError` if there are settings or a key already; they stay as they are.
        """
        recover(paths)
        if paths.settings.exists():
            raise ConflictError(
                f"{paths.settings}: there are settings already; they stay; change them, or move"
                " them away"
            )
        settings = fresh_settings(host_view())
        make_folder(paths.config_dir)
        private_key = create_private_key(paths.private_key)
        try:
            atomic_write(paths.settings, toml.dump(settings).encode(), 0o600, replace=False)
        except BaseException:
            paths.private_key.unlink()
            raise
        return cls(settings, private_key)
