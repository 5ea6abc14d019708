"""How a call of the API ended, as it stands on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from wgbind import errors
from wgbind.errors import InputError, StateError, WgbindError, revive

if TYPE_CHECKING:
    from collections.abc import Sequence


# Of a change that depends on a tag (RFC 9110, 15.5.13).
STALE = 412


class StaleError(StateError):
    """Somebody else changed the peer after it was read; nothing was changed."""


class Converged(BaseModel):
    """A convergence was done; `problems` is what the host refused, empty if all is applied."""

    problems: tuple[str, ...]


class Failure(BaseModel):
    """A call raised: the class and the message of a `WgbindError`.

    `item` is the number, from 0 on, of the change that was refused, if it was one of several.
    """

    error: str
    message: str
    item: int | None = None

    @classmethod
    def of(cls, error: WgbindError) -> Failure:
        """Write down an error, by the nearest of its classes that everybody knows."""
        kind = next(each for each in type(error).__mro__ if each.__module__ == errors.__name__)
        return cls(error=kind.__name__, message=str(error), item=error.item)

    def revive(self) -> WgbindError:
        """Make the error again."""
        error = revive(self.error, self.message)
        error.item = self.item
        return error


# What the document says of answers without success.
FAILURES: dict[int | str, dict[str, Any]] = {
    422: {"model": Failure, "description": "What was given is wrong; nothing changed."},
    "default": {"model": Failure, "description": "It failed."},
}


def input_error(mistakes: Sequence[Any]) -> InputError:
    """Say the first of pydantic's errors: where it is and what it is, but no value.

    What was given may be a secret.
    """
    mistake = mistakes[0]
    place = ".".join(map(str, mistake["loc"]))
    cause = mistake.get("ctx", {}).get("error")
    what = str(cause) if isinstance(cause, ValueError) else mistake["msg"]
    return InputError(f"{place}: {what}")
