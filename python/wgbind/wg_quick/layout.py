"""How a section of a file was written: its lines, kept to write it so again; no secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wgbind.wg_quick.comment import FIELD
from wgbind.wg_quick.text import NO_BLANKS, switched_on

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

HIDDEN = "*"
"""What stands for a secret."""

_SECRETS = {"privatekey", "presharedkey"}
_LINE = re.compile(r"(?P<key>[^=#\[]*)(?P<equals>=\s*)(?P<value>[^#]*?)(?P<rest>\s*(?:#.*)?)")


def keep(lines: Iterable[str]) -> tuple[str, ...]:
    """Return what can be kept of a section's lines: neither secrets nor wgbind's own comments."""
    return tuple(
        _hide(line) for line in lines if not switched_on(line).lstrip().startswith(FIELD.rstrip())
    )


def write(
    layout: Iterable[str],
    values: Mapping[str, Sequence[str]],
    unchanged: Collection[str],
    fields: Iterable[str] = (),
) -> list[str]:
    """Write a section anew.

    Args:
        layout: How it was written, with nothing of it switched off.
        values: Keys and what they say now, in the order of those that did not stand there. A key
            that says several things has a line for each.
        unchanged: The keys whose lines still say so.
        fields: Lines that come behind the header.
    """
    keys = {key.lower(): key for key in (*unchanged, *values)}
    written: list[str] = []
    fields, rest = list(fields), dict(values)
    end = 0  # of the keys
    for line in layout:
        match = _LINE.fullmatch(line)
        if match is None:
            written.append(line)
            if line.lstrip().startswith("["):
                written += fields
                fields, end = [], len(written)
            continue
        name = _name(match)
        key = keys.get(name)
        if key is not None and key in unchanged and name not in _SECRETS:
            written.append(line)
            rest.pop(key, None)
        else:
            said = () if key is None else rest.pop(key, ())
            written += _changed(match, said)
        end = len(written)
    written[end:end] = [f"{key} = {value}" for key, said in rest.items() for value in said]
    return written


def _changed(match: re.Match[str], said: Sequence[str]) -> Iterator[str]:
    """Write what a key says now in place of its line, whose comment stays."""
    comment = match["rest"]
    for value in said:
        yield f"{match['key']}{match['equals']}{value}{comment}"
        comment = ""
    if comment.strip():
        yield comment.strip()


def _hide(line: str) -> str:
    plain = switched_on(line)
    match = _LINE.fullmatch(plain)
    if match is None or _name(match) not in _SECRETS:
        return line
    mark = line[: len(line) - len(plain)]
    return f"{mark}{match['key']}{match['equals']}{HIDDEN}{match['rest']}"


def _name(match: re.Match[str]) -> str:
    return match["key"].translate(NO_BLANKS).lower()
