"""A folder of client configurations, a file for each peer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wgbind.errors import ConflictError
from wgbind.settings.files import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from wgbind.settings.wg_quick import ClientConfiguration


class Handout:
    """Files NAME.conf (0600) in a folder, which is made (0700) if it is not there.

    Args:
        folder: Where they are written.
        names: The peers that shall have one; `ConflictError` for one that is there already.
    """

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self._folder = folder
        make_folder(folder)
        there = {path.name for path in folder.iterdir()}
        for name in names:
            if f"{name}.conf" in there:
                raise ConflictError(
                    f"{folder / name}.conf is there already; move it away, or name another folder"
                )

    def write(self, name: str, configuration: ClientConfiguration) -> None:
        """Write the configuration of the peer `name`; raises `OSError`."""
        path = self._folder / f"{name}.conf"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "w") as file:
            file.write(configuration.text())
