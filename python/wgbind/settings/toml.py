"""The settings file: TOML with a comment for each key."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from difflib import get_close_matches
from typing import TYPE_CHECKING

from pydantic import SecretStr, ValidationError

from wgbind.errors import NotFoundError, PrivilegeError, SettingsError
from wgbind.settings.model import ServerSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails

# The start of a line with a section or a key, which may be dotted or quoted.
_STATEMENT = re.compile(r"""\s*(\[(?P<section>[^\[\]]+)\]|(?P<key>[\w.\s"'-]+)=)""")

_NOUNS = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "tuple_type": "a list in [ ]",
}


def load(path: Path) -> ServerSettings:
    """Read the settings of a server.

    Raises `SettingsError` ("FILE:LINE: key KEY: what is wrong; remedy") for the first mistake,
    `NotFoundError` if there is no such file, `PrivilegeError` if it may not be read.
    """
    text = _read(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # tomllib names keys, never values: no secret can show.
        reason, _, place = str(error).rpartition(" (at ")
        line = re.search(r"line (\d+)", place)
        number = line[1] if line else text.count("\n") + 1
        raise SettingsError(
            f"{path}:{number}: it is not TOML: {reason}; correct the line"
        ) from None
    try:
        return ServerSettings.model_validate(data)
    except ValidationError as error:
        mistakes = [(_line(text, mistake["loc"]), mistake) for mistake in error.errors()]
    number, mistake = min(mistakes, key=lambda found: found[0])
    key = ".".join(part for part in mistake["loc"] if isinstance(part, str))
    raise SettingsError(
        f"{path}:{number}: key {key if key.isprintable() else repr(key)}: {_explain(mistake)}"
    )


def dump(settings: ServerSettings) -> str:
    """Write settings as a commented file, which `load` reads as the same settings."""
    blocks = []
    for name, section in settings:
        lines = [f"[{name}]"]
        for key, field in type(section).model_fields.items():
            comment = textwrap.wrap(field.description or "", 90)
            lines += [f"# {line}" for line in comment]
            value = getattr(section, key)
            if value is None:
                lines += [f"# {key} = {_toml(example)}" for example in field.examples or ()]
            else:
                lines.append(f"{key} = {_toml(value)}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise NotFoundError(
            f"{path}: there are no such settings; `wgbind server init {path.stem}` makes them"
        ) from None
    except PermissionError:
        raise PrivilegeError(f"{path}: you may not read the settings; run as root") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: it is not UTF-8 text; save it as such") from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; make it a plain file") from None


def _toml(value: object) -> str:
    match value:
        case bool() | int():
            return str(value).lower()
        case tuple() | list():
            return f"[{', '.join(map(_toml, value))}]"
        case SecretStr():
            return _toml(value.get_secret_value())
        case _:  # JSON's strings are TOML's basic strings
            return json.dumps(str(value), ensure_ascii=False)


def _line(text: str, loc: tuple[int | str, ...]) -> int:
    """Return the line of a key, else that of its section, else 1: the parser tells none."""
    wanted = [part for part in loc if isinstance(part, str)]
    section: list[str] = []
    depth, found = 0, 1
    for number, line in enumerate(text.split("\n"), 1):
        statement = _STATEMENT.match(line)
        if statement is None:
            continue
        if statement["section"] is not None:
            path = section = _names(statement["section"])
        else:
            path = section + _names(statement["key"])
        if len(path) > depth and path == wanted[: len(path)]:
            depth, found = len(path), number
    return found


def _names(dotted: str) -> list[str]:
    return [part.strip(" \t\"'") for part in dotted.split(".")]


def _explain(mistake: ErrorDetails) -> str:
    kind, value, context = mistake["type"], mistake["input"], mistake.get("ctx", {})
    match kind:
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"{value} is too small; use {context['ge']} or more"
        case "less_than_equal":
            return f"{value} is too large; use {context['le']} or less"
        case "string_type":  # only secrets are plain text
            return "it is not text in quotes"
        case "too_short":
            return "it is empty; give one at least"
        case "missing":
            return "it is missing; `wgbind server init` makes a file that shows it"
        case "model_type":
            return f"it is not a section; write [{mistake['loc'][0]}] once, and its keys below"
        case "extra_forbidden":
            return f"there is no such key{_suggestion(mistake['loc'])}"
        case _ if kind in _NOUNS:
            return f"{value!r} is not {_NOUNS[kind]}"
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
