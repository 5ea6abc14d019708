"""Documents in TOML, YAML and JSON, and at which line of them a value stands."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from wgbind.errors import InputError, PrivilegeError
from wgbind.settings.toml_lines import line_of, statement_lines

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path as FilePath

    from wgbind.settings.toml_lines import Path

# The C library's is ten times as fast; not every build of PyYAML has it.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Source:
    """Where a document comes from.

    Attributes:
        name: Its file; empty for one that was made in Python.
        read_lines: Gives the line of each key and item.
    """

    name: str = ""
    read_lines: Callable[[], dict[Path, int]] = dict

    def lines(self) -> dict[Path, int]:
        """Return the line, from 1 on, of each key and item."""
        return self.read_lines()

    def place(self, line: int) -> str:
        """Say "FILE:LINE: ", or nothing if there is no file."""
        return f"{self.name}:{line}: " if self.name else ""

    def at(self, *place: str | int) -> str:
        """Say "FILE:LINE: " of a key, or nothing if there is no file."""
        return self.place(line_of(place, self.lines())) if self.name else ""


def read(path: FilePath) -> tuple[object, Source]:
    """Read a file by its suffix: .toml, .yaml, .yml or .json.

    Raises `InputError` ("FILE:LINE: what is wrong; remedy") and `OSError`.
    """
    readers = {".toml": _toml, ".yaml": _yaml, ".yml": _yaml, ".json": _json}
    reader = readers.get(path.suffix)
    if reader is None:
        raise InputError(f"{path}: its name tells no format; call it .toml, .yaml or .json")
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: it is not UTF-8 text; save it as such") from None
    except PermissionError:
        raise PrivilegeError(f"{path}: you may not read it; run as root, or chmod it") from None
    return reader(str(path), text)


def parse(name: str, text: str) -> tuple[object, Source]:
    """Read a text of unknown format: JSON if it begins so, TOML if it is that, else YAML."""
    if text.lstrip().startswith("{"):
        return _json(name, text)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return _yaml(name, text)
    return _toml(name, text)


def _toml(name: str, text: str) -> tuple[object, Source]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # tomllib names keys, never values: no secret can show.
        reason, _, where = str(error).rpartition(" (at ")
        line = re.search(r"line (\d+)", where)
        number = int(line[1]) if line else text.count("\n") + 1
        raise InputError(f"{name}:{number}: it is not TOML: {reason}; correct the line") from None
    return data, Source(name, lambda: statement_lines(text))


def _json(name: str, text: str) -> tuple[object, Source]:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            key = next(key for key in keys if keys.count(key) > 1)
            raise InputError(f"{name}: key {key!r} is there twice; leave one of them out")
        return found

    try:
        data = json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{name}:{error.lineno}: it is not JSON: {error.msg}; correct the line"
        ) from None

    def lines() -> dict[Path, int]:
        # JSON is YAML but for tabs, which its strings cannot have.
        try:
            return dict(_lines(yaml.compose(text.replace("\t", " "), Loader=yaml.SafeLoader), ()))
        except yaml.YAMLError:
            return {}

    return data, Source(name, lines)


def _yaml(name: str, text: str) -> tuple[object, Source]:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        data = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        raise InputError(f"{name}:{line}: it is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise InputError(f"{name}: it is not YAML: {error}") from None
    finally:
        loader.dispose()
    for key in _repeated(node):
        raise InputError(
            f"{name}:{key.start_mark.line + 1}: key {key.value!r} is there twice; leave one of "
            "them out"
        )
    return data, Source(name, lambda: dict(_lines(node, ())))


def _repeated(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """Find keys that their mapping has already: YAML forbids them, its loader takes the last."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                yield key
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _repeated(each)


def _lines(node: yaml.Node | None, path: Path) -> Iterator[tuple[Path, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, str(key.value)), key.start_mark.line + 1
            yield from _lines(value, (*path, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for number, each in enumerate(node.value):
            yield (*path, number), each.start_mark.line + 1
            yield from _lines(each, (*path, number))
