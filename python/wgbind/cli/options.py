"""Options that several commands take, as one parameter: Typer itself knows only single ones."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Options:
    """Base of dataclasses whose fields are options, or arguments, as Typer wants them annotated."""


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes, in place of each parameter that is `Options`, their fields."""
    groups: dict[str, type[Options]] = {}
    found: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        kind = parameter.annotation
        if isinstance(kind, type) and issubclass(kind, Options):
            groups[parameter.name] = kind
            found += _parameters(kind)
        else:
            found.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def run(**said: Any) -> None:  # noqa: ANN401
        for name, kind in groups.items():
            said[name] = kind(**{each.name: said.pop(each.name) for each in _parameters(kind)})
        command(**said)

    # What Typer looks at, whatever its version.
    described: Any = update_wrapper(run, command)
    del described.__wrapped__  # it has other parameters
    described.__signature__ = inspect.Signature(found)
    described.__annotations__ = {each.name: each.annotation for each in found}
    return run


def _parameters(kind: type[Options]) -> Iterator[inspect.Parameter]:
    assert is_dataclass(kind)  # noqa: S101  a mistake of ours
    hints = get_type_hints(kind, include_extras=True)
    for each in fields(kind):
        yield inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=hints[each.name],
        )
