"""The settings that a document asks for, and their file: what it does not name keeps its place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import tomlkit
from pydantic import SecretStr, ValidationError

from wgbind.apply.report import ValueChange
from wgbind.errors import InputError
from wgbind.settings import toml
from wgbind.settings.mistake import mistakes_of
from wgbind.settings.model import ServerSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

    from wgbind.apply.document import Document

_SECRET = "(secret)"  # noqa: S105  a word in its place


def edited(text: str, document: Document) -> tuple[str, ServerSettings]:
    """Return the text of a settings file with what a document names, and what it then says.

    Comments and the order of keys stay. Raises `InputError` ("FILE:LINE: key KEY: ...").
    """
    data = tomllib.loads(text)
    _merge(data, document.settings)
    try:
        settings = ServerSettings.model_validate(data)
    except ValidationError as error:
        found = document.source
        within = ("settings",)
        mistake = mistakes_of(error, ServerSettings, found.lines(), within)[0]
        raise InputError(f"{found.place(mistake.line)}{mistake.message}") from None
    parsed = tomlkit.parse(text)
    _merge(parsed, document.settings)
    new = tomlkit.dumps(parsed)
    if tomllib.loads(new) != data:
        new = toml.dump(settings)
    return new, settings


def differences(old: ServerSettings, new: ServerSettings) -> Iterator[ValueChange]:
    """Say which keys differ."""
    for name, section in new:
        before = getattr(old, name)
        for key, value in section:
            former = getattr(before, key)
            if value != former:
                yield ValueChange(key=f"{name}.{key}", old=_text(former), new=_text(value))


def _merge(into: MutableMapping[str, Any], values: Mapping[str, Any]) -> None:
    """Put values in their places, tables into tables; None takes a key away."""
    for key, value in values.items():
        present = into.get(key)
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(present, dict):
            _merge(present, value)
        elif present != value:
            into[key] = value


def _text(value: object) -> str | None:
    if value is None or isinstance(value, SecretStr):
        return None if value is None else _SECRET
    return toml.literal(value)
