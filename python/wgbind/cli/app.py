"""The command's root: its groups, its errors and its exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from wgbind.cli import config, firewall, key, peer, server
from wgbind.cli.apply import apply
from wgbind.cli.doctor import doctor
from wgbind.cli.output import EXIT_CODES, error
from wgbind.errors import WgbindError

# Typer builds on click, or since 0.26 on a copy of its own; in both, the usage error is this.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="wgbind",
    help="A WireGuard server: start it, add peers, see what they do.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(server.app, name="server")
app.add_typer(peer.app, name="peer")
app.add_typer(firewall.app, name="firewall")
app.add_typer(config.app, name="config")
app.add_typer(key.app, name="key")
app.command(epilog=EXIT_CODES)(apply)
app.command(epilog=f"{EXIT_CODES} What blocks is a failure.")(doctor)


def _print_version(value: bool) -> None:
    if value:
        from wgbind import __version__

        typer.echo(f"wgbind {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


def run() -> int:
    """Run the command line and return its exit code; an error becomes one line."""
    try:
        return app(standalone_mode=False, prog_name="wgbind") or 0
    except _UsageError as mistake:
        # With no command at all, the message is the help text.
        text = mistake.format_message()  # type: ignore[attr-defined]
        text = text.replace("Value error, ", "")  # pydantic's, who is nobody here
        if text.startswith("Usage:"):
            typer.echo(text, err=True)
        else:
            error(text)
        return 2
    except WgbindError as failure:
        error(str(failure))
        return failure.exit_code
    except BrokenPipeError:
        # Who read the output has enough; Python must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as failure:
        error(f"{failure.filename}: {failure.strerror}" if failure.filename else str(failure))
        return 1
    except (KeyboardInterrupt, typer.Abort):
        return 130
