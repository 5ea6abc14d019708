"""How results look: tables for people, JSON for programs, remarks beside the result."""

from __future__ import annotations

import json
import os
import stat
import sys
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from wgbind.cli import complete

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXIT_CODES = "Exit codes: 0 done, 1 refused or failed, 2 wrong input."

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ServerName: TypeAlias = Annotated[
    str,
    typer.Option("--server", help="The server's interface.", autocompletion=complete.servers),
]


def error(message: str) -> None:
    """Print the one line that says what went wrong, on standard error."""
    typer.echo(f"error: {message}", err=True)


def remark(message: str) -> None:
    """Print what the result itself must not hold, on standard error."""
    typer.echo(message, err=True)


def peer_count(number: int) -> str:
    """Say how many peers there are."""
    return "1 peer" if number == 1 else f"{number} peers"


def peers_are(number: int) -> str:
    """Begin a sentence about so many peers."""
    return f"{peer_count(number)} {'is' if number == 1 else 'are'}"


def print_json(value: object) -> None:
    """Print a value of plain lists, dictionaries, strings, numbers and truth values."""
    typer.echo(json.dumps(value, indent=2))


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns; what has no value is left out."""
    shown = [(name, value) for name, value in fields if value]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        typer.echo(f"  {name:<{width}}  {value}")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header: a table on a terminal, columns of plain text elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*header, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        # Cells hold what people wrote, such as a rule's name: text, not Rich's markup.
        Console(markup=False, emoji=False, highlight=False).print(table)
        return
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def confirm(question: str, *, yes: bool, required: bool = False) -> None:
    """Ask on a terminal before what cannot be undone; end the command if the answer is no.

    A script (no terminal on standard input) is not asked. Where it is `required`, it has to say
    `--yes`: `InputError`.
    """
    if yes:
        return
    if sys.stdin.isatty():
        if not typer.confirm(f"{question} It cannot be undone.", err=True):
            remark("Nothing is changed.")
            raise typer.Exit(1)
    elif required:
        from wgbind.errors import InputError

        raise InputError(f"{question} Nobody is here to answer; give --yes")


def warn_if_readable() -> None:
    """Warn if standard output is a file that others can read: a secret goes there."""
    status = os.fstat(sys.stdout.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
        remark("warning: other users can read the file that this is written to; use umask 077")


def moment(text: str | None) -> datetime | None:
    """Read a date of an option, as `parse_expiry` does; None for None."""
    if text is None:
        return None
    from wgbind.store.expiry import parse_expiry

    return parse_expiry(text, datetime.now(timezone.utc))


def ago(moment: datetime | None) -> str:
    """Say how long ago a moment in UTC was; "never" for None."""
    if moment is None:
        return "never"
    return f"{duration(datetime.now(timezone.utc) - moment)} ago"


def duration(span: timedelta) -> str:
    """Say a span of time in its two largest units."""
    seconds = max(0, int(span.total_seconds()))
    for name, length, lower, lower_length in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if seconds >= length:
            return f"{seconds // length} {name} {seconds % length // lower_length} {lower}"
    return f"{seconds} s"


def size(count: int | None) -> str:
    """Say a number of bytes in its largest binary unit; "-" for None."""
    if count is None:
        return "-"
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, 4)
    return f"{count / 1024**power:.1f} {('KiB', 'MiB', 'GiB', 'TiB')[power - 1]}"
