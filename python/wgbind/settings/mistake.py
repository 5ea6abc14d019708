"""What pydantic refuses, told as people can mend it: where it stands, what is wrong, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

from wgbind.settings.section import MisplacedError
from wgbind.settings.toml_lines import line_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    from wgbind.settings.toml_lines import Path

_MOVED: dict[tuple[int | str, ...], str] = {
    ("gateway",): "say it by policy.preset, policy.rules and routing.egress",
}
"""What stood there once, and stands elsewhere now."""

_NOUNS = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "tuple_type": "a list in [ ]",
}


@dataclass(frozen=True)
class Mistake:
    """What is wrong in a file, and where: "key KEY: what is wrong; remedy"."""

    line: int
    message: str


def mistakes_of(
    error: ValidationError,
    root: type[BaseModel],
    lines: Mapping[Path, int],
    within: Path = (),
) -> list[Mistake]:
    """Explain each error by its line and key, in the order of the lines.

    Args:
        error: What pydantic raised.
        root: The model that refused.
        lines: The lines of the keys of the file.
        within: Where in the file that stands which the model is of.
    """
    found = []
    for each in error.errors():
        place = (*within, *_place(each))
        key = ".".join(part for part in place if isinstance(part, str) and part != "[key]")
        shown = key if key.isprintable() else repr(key)
        found.append(Mistake(line_of(place, lines), f"key {shown}: {explain(each, root)}"))
    return sorted(found, key=lambda mistake: mistake.line)


def _place(mistake: ErrorDetails) -> Path:
    error = mistake.get("ctx", {}).get("error")
    return mistake["loc"] + (error.place if isinstance(error, MisplacedError) else ())


def explain(mistake: ErrorDetails, root: type[BaseModel]) -> str:
    """Say what is wrong, and the remedy; `root` is the model that refused."""
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
        case "model_type" if len(mistake["loc"]) > 1:
            return f"{value!r} is neither a list in [ ] nor a table in {{ }}"
        case "model_type" | "dict_type":
            section = ".".join(map(str, mistake["loc"]))
            return f"it is not a section; write [{section}] once, and its keys below"
        case "extra_forbidden":
            return f"there is no such key{_suggestion(mistake['loc'], root)}"
        case _ if kind in _NOUNS:
            return f"{value!r} is not {_NOUNS[kind]}"
        case _:
            return mistake["msg"]


def _suggestion(loc: Path, root: type[BaseModel]) -> str:
    """Name the key that was meant, or those that there are."""
    key = str(loc[-1]).lower()
    if loc in _MOVED:
        return f"; {_MOVED[loc]}"
    for section, field in root.model_fields.items():
        if key in getattr(field.annotation, "model_fields", {}):
            return f"; it stands in the section [{section}]"
    names = _keys(loc[:-1], root)
    near = get_close_matches(key, names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(names)}"


def _keys(loc: Path, root: type[BaseModel]) -> list[str]:
    """Return the keys of the table at `loc`."""
    kind: Any = root
    for part in loc:
        fields = getattr(kind, "model_fields", None)
        # In a list or a mapping, the last argument of its type says what its values are.
        kind = fields[part].annotation if fields else get_args(kind)[-1]
        if NoneType in get_args(kind):
            kind = get_args(kind)[0]
    return list(kind.model_fields)
