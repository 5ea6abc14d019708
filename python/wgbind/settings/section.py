"""What the sections of the settings have in common."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, PlainValidator

from wgbind.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Section(BaseModel):
    """A table of the settings file. Each field's description is its comment in a new file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class MisplacedError(ValueError):
    """A mistake that shows only beside other settings; `place` leads from the section to it."""

    def __init__(self, message: str, *place: str | int) -> None:
        super().__init__(message)
        self.place = place


@contextmanager
def as_value_error() -> Iterator[None]:
    """Let pydantic see our errors: it collects `ValueError` only."""
    try:
        yield
    except InputError as error:
        raise ValueError(str(error)) from None


def text(parse: Callable[[str], object], *types: type) -> PlainValidator:
    """Parse text; what is of one of `types` already is held to the same rules."""

    def validate(value: object) -> object:
        if not isinstance(value, (str, *types)):
            raise ValueError(f"{value!r} is not text in quotes")  # noqa: TRY004  pydantic's way
        with as_value_error():
            return parse(str(value))

    return PlainValidator(validate)
