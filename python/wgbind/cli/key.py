"""`wgbind key`: keys, as `wg genkey`, `pubkey` and `genpsk` make them."""

from __future__ import annotations

import sys

import typer

from wgbind.cli.output import EXIT_CODES, Json, print_json, warn_if_readable

_LONGEST = 128  # bytes; a key has 44, or 64 in hexadecimal

app = typer.Typer(help="Make keys.", epilog=EXIT_CODES, no_args_is_help=True)


@app.command(epilog=EXIT_CODES)
def gen(as_json: Json = False) -> None:
    """Print a new private key."""
    from wgbind import PrivateKey

    _print_secret("private_key", PrivateKey.generate().reveal(), as_json)


@app.command(epilog=EXIT_CODES)
def pub(as_json: Json = False) -> None:
    """Read a private key on standard input; print its public key."""
    from wgbind import PrivateKey

    text = sys.stdin.buffer.read(_LONGEST).decode("ascii", "replace").strip()
    _print("public_key", str(PrivateKey(text).public_key()), as_json)


@app.command(epilog=EXIT_CODES)
def psk(as_json: Json = False) -> None:
    """Print a new preshared key."""
    from wgbind import PresharedKey

    _print_secret("preshared_key", PresharedKey.generate().reveal(), as_json)


def _print_secret(name: str, text: str, as_json: bool) -> None:
    warn_if_readable()
    _print(name, text, as_json)


def _print(name: str, text: str, as_json: bool) -> None:
    if as_json:
        print_json({name: text})
    else:
        typer.echo(text)
