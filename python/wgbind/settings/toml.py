"""The settings file: TOML with a comment for each key."""

from __future__ import annotations

import textwrap
from difflib import get_close_matches
from typing import TYPE_CHECKING

import tomlkit
from pydantic import SecretStr, ValidationError
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable, Item

from wgbind.errors import NotFoundError, PrivilegeError, SettingsError
from wgbind.settings.model import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails
    from tomlkit.container import Container

_MARK = "\0"  # stands in no TOML file

_NOUNS = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "string_type": "text in quotes",
    "tuple_type": "a list in [ ]",
    "model_type": "a section",
}


def load(path: Path) -> ServerSettings:
    """Read the settings of a server.

    Raises `SettingsError` ("FILE:LINE: key KEY: what is wrong; remedy") for the first mistake,
    `NotFoundError` if there is no such file, `PrivilegeError` if it may not be read.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise NotFoundError(
            f"{path}: there are no such settings; `wgbind server init {path.stem}` makes them"
        ) from None
    except PermissionError:
        raise PrivilegeError(f"{path}: you may not read the settings; run as root") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8 text; save it as such") from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        # The parser's own message may quote what stands there, such as a key.
        line = getattr(error, "line", 1)
        raise SettingsError(f"{path}:{line}: this is not TOML; correct the line") from None
    try:
        return ServerSettings.model_validate(document.unwrap())
    except ValidationError as error:
        mistakes = [(_line(text, mistake["loc"]), mistake) for mistake in error.errors()]
    line, mistake = min(mistakes, key=lambda found: found[0])
    key = ".".join(part for part in mistake["loc"] if isinstance(part, str))
    raise SettingsError(f"{path}:{line}: key {key}: {_explain(mistake)}")


def dump(settings: ServerSettings) -> str:
    """Write settings as a commented file, which `load` reads as the same settings."""
    blocks = []
    for name, section in settings:
        lines = [f"[{name}]"]
        for key, field in type(section).model_fields.items():
            value = _plain(getattr(section, key))
            lines += textwrap.wrap(
                field.description or "", 90, initial_indent="# ", subsequent_indent="# "
            )
            if value is None:
                lines.append(f"# {key} = {_toml((field.examples or [''])[0])}")
            else:
                lines.append(f"{key} = {_toml(value)}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _plain(value: object) -> object:
    match value:
        case None | bool() | int():
            return value
        case tuple():
            return [_plain(item) for item in value]
        case SecretStr():
            return value.get_secret_value()
        case _:
            return str(value)


def _toml(value: object) -> str:
    return str(tomlkit.item(value).as_string())


def _line(text: str, loc: tuple[int | str, ...]) -> int:
    """Return the line of a key, or of the section where it is missing; 1 if that is missing too.

    The parser tells no lines, but writes a document as it was read: mark the key and look for it.
    """
    document = tomlkit.parse(text)
    container: Container = document
    marked: Item | None = None
    for part in loc:
        if not isinstance(part, str) or part not in container:
            break
        item = container.item(part)
        if not isinstance(item, Item):
            break
        marked = item
        if not isinstance(item, AbstractTable):
            break
        container = item.value
    if marked is not None:
        marked.trivia.indent += _MARK
    before, mark, _ = document.as_string().partition(_MARK)
    return before.count("\n") + 1 if mark else 1


def _explain(mistake: ErrorDetails) -> str:
    kind, value, bounds = mistake["type"], mistake["input"], mistake.get("ctx", {})
    if kind in _NOUNS:
        return f"{_toml(value)} is not {_NOUNS[kind]}"
    match kind:
        case "value_error":
            return str(bounds["error"])
        case "greater_than_equal":
            return f"{value} is too small; use {bounds['ge']} or more"
        case "less_than_equal":
            return f"{value} is too large; use {bounds['le']} or less"
        case "too_short":
            return "it is empty; give one at least"
        case "missing":
            return "it is missing; `wgbind server init` shows in a new file how it looks"
        case "extra_forbidden":
            return f"there is no such key{_suggestion(mistake['loc'])}"
        case _:
            return mistake["msg"]


def _suggestion(loc: tuple[int | str, ...]) -> str:
    """Name the key that was meant, or those that there are."""
    key = str(loc[-1]).lower()
    sections = {
        name: list(getattr(field.annotation, "model_fields", {}))
        for name, field in ServerSettings.model_fields.items()
    }
    for section, keys in sections.items():
        if key in keys:
            return f"; it stands in the section [{section}]"
    names = list(sections) if len(loc) == 1 else sections[str(loc[0])]
    near = get_close_matches(key, names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(names)}"
