"""At which line of a TOML file its keys and the items of its lists stand: the parser tells none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Path: TypeAlias = tuple[int | str, ...]
"""What leads to a value: keys, and numbers in lists from 0 on."""

_SPACE = re.compile(r"(?:\s|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*("(?:\\.|[^"\\])*"|'[^']*'|[\w-]+)[ \t]*(\.?)""")
_TEXT = re.compile(
    r'"""(?:\\.|[^\\])*?"""+' r"|'''.*?'''+" r'|"(?:\\.|[^"\\])*"' r"|'[^']*'", re.DOTALL
)
_BARE = re.compile(r"[^\s,\]}#]+([ ][0-9:.]+)?")  # also a date, with its time behind a space


def statement_lines(text: str) -> dict[Path, int]:
    """Return the line, from 1 on, of each table, key and item of a text that is TOML."""
    return _Scan(text).lines


def line_of(place: Path, lines: Mapping[Path, int]) -> int:
    """Return the line of what is at `place`, else that of what holds it, else 1.

    Parts of `place` that the file has not are passed over: a list may stand for a table.
    """
    found: Path = ()
    for part in place:
        if (*found, part) in lines:
            found = (*found, part)
    return lines.get(found, 1)


class _Scan:
    """One pass over a text; `at` is where it is."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines: dict[Path, int] = {}
        self.at = 0
        self._counted = (0, 1)
        self._arrays: dict[Path, int] = {}
        table: Path = ()
        while self._next():
            if self._take("[["):
                array = self._key(())
                self._arrays[array] = self._arrays.get(array, -1) + 1
                table = (*array, self._arrays[array])
                self._note(table)
                self.at += len("]]")
            elif self._take("["):
                table = self._key(())
                self._note(table)
                self.at += len("]")
            else:
                self._statement(table)

    def _statement(self, table: Path) -> None:
        path = self._key(table)
        self._note(path)
        self._next()
        self.at += len("=")
        self._value(path)

    def _value(self, path: Path) -> None:
        self._next()
        if self._take("["):
            number = 0
            while self._next() and not self._take("]"):
                self._note((*path, number))
                self._value((*path, number))
                self._next()
                self._take(",")
                number += 1
        elif self._take("{"):
            while self._next() and not self._take("}"):
                self._statement(path)
                self._next()
                self._take(",")
        else:
            match = _TEXT.match(self.text, self.at) or _BARE.match(self.text, self.at)
            self.at = len(self.text) if match is None else match.end()

    def _key(self, table: Path) -> Path:
        """Read a key with its dots; tables within a list of tables are those of its last one."""
        path = table
        dotted = "."
        while dotted and (match := _KEY.match(self.text, self.at)) is not None:
            self.at = match.end()
            name, dotted = match[1], match[2]
            path = (*path, name.strip("\"'"))
            if dotted and not table and path in self._arrays:
                path = (*path, self._arrays[path])
        return path

    def _note(self, path: Path) -> None:
        begin, line = self._counted
        line += self.text.count("\n", begin, self.at)
        self._counted = (self.at, line)
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def _next(self) -> bool:
        """Go on to what is no white space and no comment; say whether there is any."""
        match = _SPACE.match(self.text, self.at)
        self.at = self.at if match is None else match.end()
        return self.at < len(self.text)

    def _take(self, token: str) -> bool:
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True
