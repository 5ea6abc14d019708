"""Comments of a peer in a file of wg-quick(8), and what wgbind keeps of them."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wgbind.errors import InputError
from wgbind.wg_quick.friendly_name import find_name, peer_name, stands_before
from wgbind.wg_quick.text import END_MARK, marks_disabled

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FIELD = "#: "
"""What begins a comment with a setting of wgbind's, in TOML."""


@dataclass(frozen=True)
class PeerComments:
    """What comments say of a peer.

    Attributes:
        name: The name in them, in the form that peers have.
        text: The name as it stands there.
        notes: All of them but the name that wgbind writes, as notes.
    """

    name: str | None
    text: str | None
    notes: str


def read_comments(comments: Sequence[str]) -> PeerComments:
    """Understand the comments of a peer, those with settings of wgbind's left out."""
    text = find_name(comments)
    name = None if text is None else peer_name(text)
    own = None if name is None else name_comment(name)
    kept = list(comments)
    if own in kept:
        kept.remove(own)
    return PeerComments(name, text, "\n".join(map(_note, kept)))


def write_comments(name: str, notes: str) -> tuple[list[str], list[str], list[str]] | None:
    """Write a peer's name and notes as comments: before its header, in it, and at its end.

    None if they could not be told apart again.
    """
    comments = [_comment(line) for line in notes.split("\n")] if notes else []
    if find_name(comments) is None:
        comments = [name_comment(name), *comments]
    before = [each for each in comments if stands_before(each)]
    behind = [each for each in comments if END_MARK.fullmatch(each)]
    within = [each for each in comments if each not in before and each not in behind]
    ordered = [*before, *within, *behind]
    found = read_comments(ordered)
    same = (found.name, found.notes) == (name, notes)
    clear = not any(each.startswith(FIELD.rstrip()) or marks_disabled(each) for each in ordered)
    # A mark of an end without one of a beginning would stand behind what is before it.
    return (before, within, behind) if same and clear else None


def name_comment(name: str) -> str:
    """Return the comment by which wgbind names a peer."""
    return f"# Name = {name}"


def split_fields(comments: Iterable[str]) -> tuple[list[str], dict[str, Any]]:
    """Part comments from wgbind's settings among them, and read those; raise `InputError`."""
    rest, lines = [], []
    for comment in comments:
        if comment.startswith(FIELD.rstrip()):
            lines.append(comment[len(FIELD) :])
        else:
            rest.append(comment)
    try:
        return rest, tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError as error:
        reason = str(error).partition(" (at ")[0]
        raise InputError(
            f"the comments that begin with {FIELD.strip()!r} are not TOML: {reason}; correct or "
            "remove them"
        ) from None


def _note(comment: str) -> str:
    if comment == "#":
        return ""
    plain = re.fullmatch(r"# ([^#\s].*)", comment)
    return comment if plain is None else plain[1]


def _comment(line: str) -> str:
    if not line:
        return "#"
    return line if line.startswith("#") else f"# {line}"
