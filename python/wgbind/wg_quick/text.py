"""The lines of a file of wg-quick(8): sections, keys, and the comments that belong to them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from wgbind.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind: TypeAlias = Literal["interface", "peer"]

_KINDS: dict[str, Kind] = {"[interface]": "interface", "[peer]": "peer"}

DISABLED = "#! "
"""What stands before each line of a peer that is switched off, as wgconfig writes it."""

# The other is what PiVPN writes.
_DISABLED = re.compile(r"(#! ?|#\[disabled\] ?)")

NO_BLANKS = dict.fromkeys(map(ord, " \t\n\r\f\v"))
"""To take the blanks out of a text by `str.translate`, as wg(8) does with every line."""

END_MARK = re.compile(r"# *END_PEER\b.*|### *end\b.*", re.IGNORECASE)
"""What scripts write behind the last line of a peer."""


def marks_disabled(line: str) -> bool:
    """Tell whether a line begins as those of a peer that is switched off."""
    return _DISABLED.match(line) is not None


def switched_on(line: str) -> str:
    """Return a line without what marks it as switched off."""
    return _DISABLED.sub("", line, count=1)


@dataclass(frozen=True)
class Entry:
    """A key and its value, as written but for the blanks around them."""

    line: int
    key: str
    value: str


@dataclass
class Block:
    """A section.

    Attributes:
        line: That of its header.
        entries: Its keys.
        comments: Those before, in and behind it, each with its "#".
        enabled: Whether it is there for wg-quick(8), too.
        lines: Its lines as they stand there, with those that comments alone stand in.
    """

    kind: Kind
    line: int
    entries: list[Entry] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    enabled: bool = True
    lines: list[str] = field(default_factory=list)

    def take(self, gap: list[_Gap]) -> None:
        """Take over comments and empty lines."""
        self.comments += [comment for comment, _ in gap if comment]
        self.lines += [line for _, line in gap if line is not None]
        gap.clear()


@dataclass(frozen=True)
class _Line:
    number: int
    text: str
    enabled: bool
    whole: str


_Gap: TypeAlias = tuple[str, "str | None"]
"""A comment, or "" for an empty line, and the line, unless it has a key as well."""


def parse_blocks(text: str, name: str) -> list[Block]:
    """Read the sections of a text in the order in which they stand.

    A comment belongs to the section that it stands in; between two, to the second, unless only the
    first is on its side of an empty line, or a script's mark of an end says so. `name` is the
    file's, for messages. Raises `InputError` ("FILE:LINE: what is wrong; remedy").
    """
    blocks: list[Block] = []
    gap: list[_Gap] = []  # since the last key
    for line in _lines(text):
        code, mark, comment = line.text.partition("#")
        code = code.strip()
        if code.startswith("["):
            kind = _KINDS.get(re.sub(r"\s", "", code).lower())
            if kind is None:
                raise InputError(
                    f"{name}:{line.number}: section {code!r} is not one of wg-quick's; there are "
                    "[Interface] and [Peer]"
                )
            if blocks:
                before, gap = _shared(gap)
                blocks[-1].take(before)
            blocks.append(Block(kind, line.number, enabled=line.enabled))
            blocks[-1].take(gap)
            blocks[-1].lines.append(line.whole)
        elif code:
            if not blocks:
                raise InputError(
                    f"{name}:{line.number}: {_key(code)} stands in no section; write [Interface] "
                    "or [Peer] above it"
                )
            blocks[-1].take(gap)
            blocks[-1].entries.append(_entry(code, line.number, name))
            blocks[-1].lines.append(line.whole)
        if mark:
            gap.append((f"#{comment}".rstrip(), None if code else line.whole))
        elif not code:
            gap.append(("", line.whole))
        if code and mark:
            blocks[-1].take(gap)
    if not blocks:
        raise InputError(f"{name}: there is no section in it; is it a file of wg-quick?")
    blocks[-1].take(gap)
    return blocks


def _lines(text: str) -> Iterator[_Line]:
    """Number the lines; where a peer is switched off by a mark on each of them, take that away."""
    run: list[tuple[int, str]] = []
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        if _DISABLED.match(line):
            run.append((number, line))
            continue
        yield from _switched_off(run)
        run = []
        yield _Line(number, line, True, line)
    yield from _switched_off(run)


def _switched_off(run: list[tuple[int, str]]) -> Iterable[_Line]:
    plain = [switched_on(line) for _, line in run]
    if any(line.strip().lower() == "[peer]" for line in plain):
        return [
            _Line(number, line, False, whole)
            for (number, whole), line in zip(run, plain, strict=True)
        ]
    return [_Line(number, line, True, line) for number, line in run]


def _entry(code: str, number: int, name: str) -> Entry:
    key, equals, value = code.partition("=")
    if not equals or not key.strip():
        # Neither is shown: it may be a secret that lost its key.
        raise InputError(f"{name}:{number}: this is no line of the form KEY = VALUE; correct it")
    return Entry(number, key.strip(), value.strip())


def _key(code: str) -> str:
    key, equals, _ = code.partition("=")
    return f"key {key.strip()}" if equals and key.isprintable() and len(key) <= 40 else "this line"


def _shared(gap: list[_Gap]) -> tuple[list[_Gap], list[_Gap]]:
    """Share out what stands between two sections: what is the first's, and the rest."""
    comments = [comment for comment, _ in gap]
    ends = [number for number, comment in enumerate(comments) if END_MARK.fullmatch(comment)]
    empty = comments.index("") if "" in comments else 0
    cut = ends[-1] + 1 if ends else empty
    return gap[:cut], gap[cut:]
