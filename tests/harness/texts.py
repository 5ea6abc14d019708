"""Texts of any kind for the parsers that read what people write: fuzz targets and their replay."""

from __future__ import annotations

import tempfile
from pathlib import Path

from wgbind.errors import SettingsError
from wgbind.settings import toml as settings_file


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
