"""`wgbind config`: files of wg-quick, taken over and written."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 (Typer reads it)
from typing import TYPE_CHECKING, Annotated

import typer

from wgbind.cli.library import open_server
from wgbind.cli.output import (
    EXIT_CODES,
    Json,
    ServerName,
    print_json,
    print_table,
    remark,
    warn_if_readable,
)

if TYPE_CHECKING:
    from wgbind.store.peer import Peer
    from wgbind.wg_quick.importing import Import

app = typer.Typer(
    help="Make a server of a file of wg-quick, and such a file of a server.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
)


@app.command("import", epilog=EXIT_CODES)
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file; - is standard input.")],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The server's interface; by default as the file."),
    ] = None,
    with_hooks: Annotated[
        bool, typer.Option("--with-hooks", help="Let the server run its hooks, as root.")
    ] = False,
    preset: Annotated[
        list[str] | None,
        typer.Option(metavar="PRESET", help="The policy, if not what its hooks do; repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Make a new server of a file of wg-quick: settings, key and peers, or nothing.

    Comments and the names in them are kept. Its hooks are shown, and not run unless --with-hooks
    says so. What wgbind does in another way is said on standard error.
    """
    from wgbind.errors import InputError
    from wgbind.server import wg_quick
    from wgbind.settings.policy import PRESETS

    if str(file) == "-":
        if name is None:
            raise InputError("--name: it is missing; standard input has no name")
        source, text = "standard input", sys.stdin.read()
    else:
        source, text = str(file), _read(file)
    presets = [each for each in PRESETS if each in (preset or ())]
    for each in preset or ():
        if each not in PRESETS:
            raise InputError(
                f"--preset: there is no preset {each!r}; there are {', '.join(PRESETS)}"
            )
    server = open_server(name or file.stem)
    found = wg_quick.understand(text, source, server.name, run_hooks=with_hooks, preset=presets)
    if not dry_run:
        wg_quick.create(server.paths, found)
    for each in found.remarks:
        remark(each)
    if as_json:
        _print_json(found, written=not dry_run)
    elif dry_run:
        _print_plan(found)
    else:
        typer.echo(
            f"{found.name} is made of {source}: {_count(found)}; its settings are in"
            f" {server.paths.settings}."
        )
        typer.echo(f"Next: wgbind server start{'' if found.name == 'wg0' else ' ' + found.name}")


@app.command(epilog=EXIT_CODES)
def export(
    server: ServerName = "wg0",
    peer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The client's file of this peer, not the server's."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it there (0600), not to standard output."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write the file of a server for wg-quick, or that of a client; it holds secrets.

    `wgbind config import` makes the same server of it: what wg-quick has no key for stands in
    comments. Peers that are not served stand there, too, with all their lines switched off.
    """
    from wgbind.errors import ConflictError
    from wgbind.server import wg_quick
    from wgbind.settings.files import atomic_write

    opened = open_server(server)
    if peer is None:
        text = wg_quick.export(opened)
    else:
        text = opened.peers.client_configuration(opened.peers.get(peer)).text()
    if out is None:
        warn_if_readable()
        typer.echo(text, nl=False)
    else:
        try:
            atomic_write(out, text.encode(), 0o600, replace=force)
        except FileExistsError:
            raise ConflictError(f"{out} is there already; --force replaces it") from None
    if peer is None:
        remark("wg-quick does not do what wgbind's policy says, such as NAT: that needs hooks")


def _read(file: Path) -> str:
    from wgbind.errors import InputError, PrivilegeError

    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{file}: it is not UTF-8 text; save it as such") from None
    except PermissionError:
        raise PrivilegeError(f"{file}: you may not read it; run as root") from None


def _count(found: Import) -> str:
    return "1 peer" if len(found.peers) == 1 else f"{len(found.peers)} peers"


def _print_plan(found: Import) -> None:
    from wgbind.settings import toml

    typer.echo(toml.dump(found.settings))
    if found.peers:
        print_table(
            ("NAME", "STATE", "ALLOWED IPS", "ENDPOINT", "PUBLIC KEY"),
            [_row(peer) for peer in found.peers],
        )
    remark("nothing is written, because of --dry-run")


def _row(peer: Peer) -> tuple[str, ...]:
    from wgbind.settings.address import Endpoint

    return (
        peer.name,
        "enabled" if peer.enabled else "disabled",
        ", ".join(map(str, peer.allowed_ips)) or "-",
        "-" if peer.endpoint is None else str(Endpoint(*peer.endpoint)),
        str(peer.public_key),
    )


def _print_json(found: Import, *, written: bool) -> None:
    from wgbind.server.report import stored_peer_report

    print_json(
        {
            "name": found.name,
            "written": written,
            "settings": found.settings.model_dump(mode="json", exclude={"store"}),
            "peers": [stored_peer_report(peer).model_dump(mode="json") for peer in found.peers],
            "remarks": list(found.remarks),
        }
    )
