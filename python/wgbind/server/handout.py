"""Client configurations in files: one file, a folder of them, or a zip archive."""

from __future__ import annotations

import io
import os
import zipfile
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from wgbind.errors import ConflictError, InputError
from wgbind.settings.files import atomic_write, make_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from wgbind.settings.wg_quick import ClientConfiguration

Form: TypeAlias = Literal["conf", "svg", "png"]
"""wg-quick's text, or its QR code as an image."""

_FORMS: tuple[Form, ...] = get_args(Form)


class Handout:
    """Where configurations are written, each in a file NAME.conf, NAME.svg or NAME.png (0600).

    Args:
        target: FILE.zip is an archive of them (0600), FILE.conf, FILE.svg and FILE.png that file
            itself; any other is a folder, which is made (0700) if it is not there.
        names: What the files will be called.
        form: What they hold, if `target` does not tell.

    Raises `ConflictError` if one of the files is there already, `InputError` if several shall go
    into one file, `OSError`.
    """

    def __init__(self, target: Path, names: Collection[str], form: Form = "conf") -> None:
        self._target = target
        suffix = target.suffix.lstrip(".")
        single = next((each for each in _FORMS if each == suffix), None)
        self._single = single is not None
        self._form: Form = single or form
        self._archive = suffix == "zip"
        if self._single and len(names) != 1:
            raise InputError(
                f"{target}: {len(names)} configurations do not go into one file; "
                "name a folder or a .zip"
            )
        if self._single or self._archive:
            _refuse_existing([target])
        else:
            make_folder(target)
            there = {path.name for path in target.iterdir()}
            _refuse_existing(
                [target / file for name in names if (file := self._file(name)) in there]
            )

    def write(self, configurations: Mapping[str, ClientConfiguration]) -> None:
        """Write configurations, by name; raises `OSError`, and `InputError` as `qr` does."""
        contents = {
            self._file(name): content(configuration, self._form)
            for name, configuration in configurations.items()
        }
        if self._archive:
            atomic_write(self._target, _zip(contents), 0o600, replace=False)
        elif self._single:
            for data in contents.values():
                atomic_write(self._target, data, 0o600, replace=False)
        else:
            for file, data in contents.items():
                write_new(self._target / file, data)

    def _file(self, name: str) -> str:
        return f"{name}.{self._form}"


def content(configuration: ClientConfiguration, form: Form) -> bytes:
    """Return a configuration as the content of a file; raises `InputError` as `qr` does."""
    text = configuration.text()
    if form == "conf":
        return text.encode()
    from wgbind.settings import qr

    return qr.svg(text) if form == "svg" else qr.png(text)


def _refuse_existing(paths: list[Path]) -> None:
    for path in paths:
        if path.exists() or path.is_symlink():
            raise ConflictError(f"{path} is there already; move it away, or name another place")


def write_new(path: Path, data: bytes) -> None:
    """Write a file (0600) that is not there yet; raises `OSError`, `FileExistsError`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)


def _zip(contents: Mapping[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name)  # without a time: equal contents, equal archive
            entry.external_attr = 0o100600 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            opened.writestr(entry, data)
    return archive.getvalue()
