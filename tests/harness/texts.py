"""Texts of any kind for the parsers that read what people write: fuzz targets and their replay."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from wgbind.errors import InputError, SettingsError
from wgbind.settings import toml as settings_file
from wgbind.wg_quick.file import WgQuickFile


def toml(data: bytes) -> None:
    """Read a settings file: settings that are written and read as the same, or one clear line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wg0.toml"
        path.write_bytes(data)
        try:
            settings = settings_file.load(path)
        except SettingsError as error:
            said = str(error)
            assert said.isprintable(), said
            assert said.startswith(f"{path}:"), said
        else:
            assert settings_file.mistakes(path) == []
            path.write_text(settings_file.dump(settings), "utf-8")
            assert settings_file.load(path) == settings


def wg_quick(data: bytes) -> None:
    """Read a file of wg-quick(8): its keys, none of which a repr shows, or one clear line."""
    try:
        file = WgQuickFile.parse(data.decode("utf-8", "replace"), "wg0.conf")
    except InputError as error:
        said = str(error)
        assert said.isprintable(), said
        assert said.startswith("wg0.conf:"), said
    else:
        secrets = [file.interface.private_key, *(peer.preshared_key for peer in file.peers)]
        shown = repr(replace(file, interface=replace(file.interface, dns=())))
        for peer in file.peers:
            # Somebody may have used it as a preshared key, too.
            shown = shown.replace(str(peer.public_key), "")
        assert not any(secret is not None and secret.reveal() in shown for secret in secrets)
