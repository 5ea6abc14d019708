"""The settings file: TOML with a comment for each key."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from typing import TYPE_CHECKING

from pydantic import SecretStr, ValidationError

from wgbind.errors import NotFoundError, PrivilegeError, SettingsError
from wgbind.settings.client import ClientOverrides
from wgbind.settings.forward import Forward
from wgbind.settings.mistake import Mistake, mistakes_of
from wgbind.settings.model import ServerSettings
from wgbind.settings.policy import NetworkSettings
from wgbind.settings.rule import Rule
from wgbind.settings.toml_lines import line_of, statement_lines
from wgbind.settings.wg_quick_section import WgQuickSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wgbind.settings.section import Section


def load(path: Path) -> ServerSettings:
    """Read the settings of a server.

    Raises `SettingsError` ("FILE:LINE: key KEY: what is wrong; remedy") for the first mistake,
    `NotFoundError` if there is no such file, `PrivilegeError` if it may not be read.
    """
    return parse(_read(path), str(path))


def parse(text: str, name: str) -> ServerSettings:
    """Read settings from a text; `name` is the file's. Raises `SettingsError` as `load` does."""
    found = _parse(text)
    if isinstance(found, ServerSettings):
        return found
    raise SettingsError(f"{name}:{found[0].line}: {found[0].message}")


def mistakes(path: Path) -> list[Mistake]:
    """Return all that `load` would refuse, by line. Raises as `load` does but for mistakes."""
    found = _parse(_read(path))
    return [] if isinstance(found, ServerSettings) else found


def lines_of(path: Path, *places: tuple[int | str, ...]) -> list[int]:
    """Return the lines of keys, or of items in lists, of settings that `load` takes."""
    lines = statement_lines(_read(path))
    return [line_of(place, lines) for place in places]


def _parse(text: str) -> ServerSettings | list[Mistake]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # tomllib names keys, never values: no secret can show.
        reason, _, where = str(error).rpartition(" (at ")
        line = re.search(r"line (\d+)", where)
        number = int(line[1]) if line else text.count("\n") + 1
        return [Mistake(number, f"it is not TOML: {reason}; correct the line")]
    except RecursionError:
        return [Mistake(1, "it is not TOML that one can read: too many [ or { in each other")]
    except ValueError:  # from `int`, which says no more either
        return [Mistake(1, "it is not TOML that one can read: a number has too many digits")]
    try:
        return ServerSettings.model_validate(data)
    except ValidationError as error:
        return mistakes_of(error, ServerSettings, statement_lines(text))


def dump(settings: ServerSettings) -> str:
    """Write settings as a commented file, which `load` reads as the same settings."""
    return "\n".join(
        block
        for name, section in settings
        # Only an import fills this one.
        if section != WgQuickSettings()
        for block in _blocks(name, section)
    )


def _blocks(name: str, section: Section) -> Iterator[str]:
    """Write a section, then those of its keys that are tables themselves."""
    lines, tables = [f"[{name}]"], []
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        comment = [
            f"# {line}"
            for line in textwrap.wrap(field.description or "", 90, break_on_hyphens=False)
        ]
        if isinstance(value, dict):
            entries = [f"{_key(each)} = {literal(value[each])}" for each in value]
            examples = [
                f"# {each} = {literal(example[each])}"
                for example in field.examples or ()
                for each in example
            ]
            tables.append([f"[{name}.{key}]", *comment, *(entries or examples)])
        elif value is None:
            lines += [*comment, *(f"# {key} = {literal(each)}" for each in field.examples or ())]
        else:
            lines += [*comment, f"{key} = {literal(value)}"]
    for block in (lines, *tables):
        yield "\n".join(block) + "\n"


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


def literal(value: object) -> str:
    """Write a value as it stands in a settings file."""
    match value:
        case bool() | int():
            return str(value).lower()
        case tuple() | list():
            return _toml_list([literal(each) for each in value])
        case dict():
            return f"{{ {', '.join(f'{_key(key)} = {literal(value[key])}' for key in value)} }}"
        case Rule() | Forward() | NetworkSettings():
            return literal(value.as_setting())
        case ClientOverrides():
            return literal({key: each for key, each in value if each is not None})
        case SecretStr():
            return literal(value.get_secret_value())
        case _:  # JSON's strings are TOML's basic strings
            return json.dumps(str(value), ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _toml_list(items: list[str]) -> str:
    """Write a list on one line, or one item a line if that were too long."""
    line = f"[{', '.join(items)}]"
    return line if len(line) <= 80 else "[\n" + "".join(f"    {each},\n" for each in items) + "]"
