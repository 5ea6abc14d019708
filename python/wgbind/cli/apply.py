"""`wgbind apply`: a document that says what shall be, compared to what is, and made so."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 (Typer reads it)
from typing import TYPE_CHECKING, Annotated

import typer

from wgbind.cli.configuration import file_names, hand_out, require_place_for_keys
from wgbind.cli.library import open_server
from wgbind.cli.output import Json, ServerName, confirm, print_json
from wgbind.cli.peer_options import Out  # noqa: TC001 (Typer reads it)
from wgbind.cli.selection import Yes  # noqa: TC001
from wgbind.precedence import give_way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wgbind.apply.document import Document
    from wgbind.apply.report import ApplyPlan, PeerFate, PeerPlan, ValueChange

_SHOWN = 40  # lines of each kind of change
_SIGNS: dict[PeerFate, str] = {"added": "+", "changed": "~", "removed": "-"}


def apply(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The document: .toml, .yaml, .json; - is stdin.")
    ],
    server: ServerName = "wg0",
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would change, and change nothing.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove the peers that the document does not name.")
    ] = False,
    out: Out = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make a server what a document says, all of it or nothing.

    It may name sections of the settings, peers, or both; what it does not name stays as it is. A
    second time it changes nothing.
    """
    give_way()
    opened = open_server(server)
    document = _read(file)
    found = opened.plan(document, prune=prune)
    if plan or not found.changes:
        _print(found, done=False, as_json=as_json)
        return
    added = found.names("added")
    require_place_for_keys(opened, [name for name in added if document.keyless(name)], out)
    if removed := found.names("removed"):
        confirm(f"Remove {len(removed)} peers of {server}?", yes=yes, required=True)
    if out is not None and added:
        from wgbind.server.handout import Handout

        Handout(out, file_names(opened, added, None))
    applied = opened.apply(document, prune=prune)
    if out is not None and applied.added:
        hand_out(opened, applied.added, out)
    _print(applied.plan, done=True, as_json=as_json)
    if out is not None and applied.added and not as_json:
        typer.echo(f"Configurations of {len(applied.added)} new peers are in {out}.")


def _read(file: Path) -> Document:
    from wgbind.apply.document import Document
    from wgbind.errors import InputError
    from wgbind.settings.files import exposure

    if str(file) == "-":
        return Document.parse(sys.stdin.read())
    document = Document.read(file)
    problem = exposure(file.stat()) if document.holds_secrets else None
    if problem is not None:
        raise InputError(f"{file}: it holds secrets, and {problem}")
    return document


def _print(plan: ApplyPlan, *, done: bool, as_json: bool) -> None:
    if as_json:
        print_json({"applied": done, **plan.model_dump(mode="json")})
        return
    for line in _lines(plan):
        typer.echo(line)
    if not plan.changes:
        typer.echo("Nothing changes.")
        return
    counts = [
        *(f"{count} {word}" for word in _SIGNS if (count := len(plan.names(word)))),
        *([f"{len(plan.settings)} settings"] if plan.settings else []),
    ]
    typer.echo(f"{'Applied' if done else 'To do'}: {', '.join(counts) or 'new settings'}.")


def _lines(plan: ApplyPlan) -> Iterator[str]:
    if plan.created:
        yield "+ settings and private key of the server"
    for change in plan.settings:
        yield f"~ {_value(change)}"
    for word, sign in _SIGNS.items():
        peers = [peer for peer in plan.peers if peer.change == word]
        for peer in peers[:_SHOWN]:
            yield f"{sign} peer {_peer(peer)}"
        if len(peers) > _SHOWN:
            yield f"{sign} ... and {len(peers) - _SHOWN} more; --json shows all"


def _peer(peer: PeerPlan) -> str:
    values = "; ".join(map(_value, peer.values))
    return f"{peer.name}: {values}" if values else peer.name


def _value(change: ValueChange) -> str:
    if change.old is None:
        return f"{change.key} {change.new}"
    return f"{change.key} {change.old} -> {change.new or 'none'}"
