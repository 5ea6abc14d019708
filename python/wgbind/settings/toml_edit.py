"""A number in a settings file, changed in place: comments and all else stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from wgbind.errors import SettingsError
from wgbind.settings import toml
from wgbind.settings.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path


def set_interface_number(path: Path, key: str, value: int) -> None:
    """Write the number of a key of the section [interface], atomically.

    Raises `SettingsError` if the file is wrong, or would be then; nothing is written. Raises
    `NotFoundError`, `PrivilegeError` and `OSError`.
    """
    import tomlkit

    before = toml.load(path)
    parsed = tomlkit.parse(path.read_text("utf-8"))
    cast("MutableMapping[str, int]", parsed["interface"])[key] = value
    changed = tomlkit.dumps(parsed)
    interface = before.interface.model_copy(update={key: value})
    if toml.parse(changed, str(path)) != before.model_copy(update={"interface": interface}):
        raise SettingsError(f"{path}: interface.{key}: write {value} there yourself")
    atomic_write(path, changed.encode(), path.stat().st_mode & 0o777)
