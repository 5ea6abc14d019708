"""The `--help` of every command, as a terminal of 80 columns shows it.

Run as a script, it writes them to tests/help: `make help-texts`.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

FOLDER = Path(__file__).parents[1] / "help"


def commands() -> list[str]:
    """Return the words of every command behind `wgbind`; those of the root are empty."""
    from wgbind.cli.app import app

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[str]:
        yield " ".join(words)
        for name, each in getattr(command, "commands", {}).items():
            yield from walk(each, (*words, name))

    return list(walk(typer.main.get_command(app), ()))


def help_text(command: str) -> str:
    """Return what `wgbind COMMAND --help` prints."""
    from wgbind.cli.app import run

    argv, columns = sys.argv, os.environ.get("COLUMNS")
    sys.argv, os.environ["COLUMNS"] = ["wgbind", *command.split(), "--help"], "80"
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            assert run() == 0
    finally:
        sys.argv = argv
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    return printed.getvalue()


def path_of(command: str) -> Path:
    """Return the file of a command's text."""
    return FOLDER / f"{'-'.join(['wgbind', *command.split()])}.txt"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for each in commands():
        path_of(each).write_text(help_text(each))
