"""`wgbind peer import` and `export`: peers from files of others, and into files."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path  # noqa: TC003 (Typer reads it)
from typing import TYPE_CHECKING, Annotated

import typer

from wgbind.cli.configuration import file_names, hand_out, require_place_for_keys
from wgbind.cli.library import open_server
from wgbind.cli.options import expanded
from wgbind.cli.output import (
    Json,
    ServerName,
    peer_count,
    peers_are,
    print_json,
    print_table,
    remark,
    warn_if_readable,
)
from wgbind.cli.peer_options import Out  # noqa: TC001 (Typer reads it)
from wgbind.cli.selection import Choice, peers_of
from wgbind.precedence import give_way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wgbind.api.change import NewPeer
    from wgbind.store.peer import Peer


class ExportForm(str, Enum):
    """What an export looks like."""

    JSON = "json"
    YAML = "yaml"
    TOML = "toml"
    CSV = "csv"


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="A configuration of wg or wg-quick (.conf), a CSV table, or an export in JSON, "
            "YAML or TOML.",
        ),
    ],
    server: ServerName = "wg0",
    plan: Annotated[
        bool, typer.Option("--plan", help="Show who would be added, and add nobody.")
    ] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Add the peers of files, all of them or none; who is here already by key is left alone.

    Of a server's configuration these are its peers. A client's, whose server is this one, is a
    peer itself, named as its file is.
    """
    from wgbind.apply.peer_file import read_peers
    from wgbind.server.report import stored_peer_report

    give_way()
    opened = open_server(server)
    present = {peer.public_key for peer in opened.peers.list()}
    found = [peer for file in files for peer in read_peers(file, opened.configuration())]
    new = [peer for peer in found if peer.public_key not in present]
    if len(new) < len(found):
        remark(f"{len(found) - len(new)} of {len(found)} peers are here already.")
    if plan:
        _print_plan(new, as_json=as_json)
        return
    require_place_for_keys(opened, [peer.name for peer in new if peer.public_key is None], out)
    if out is not None:
        from wgbind.server.handout import Handout

        Handout(out, file_names(opened, [peer.name for peer in new], None))
    added = opened.peers.add_many(new) if new else []
    if out is not None and added:
        hand_out(opened, added, out)
    if as_json:
        print_json([stored_peer_report(peer).model_dump(mode="json") for peer in added])
        return
    for peer in added:
        typer.echo(f"{peer.name} is added.")
    typer.echo(f"{peers_are(len(added))} added.")


@expanded
def export(
    choice: Choice,
    *,
    form: Annotated[
        ExportForm | None,
        typer.Option("--format", help="JSON, unless --out tells.", show_default=False),
    ] = None,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="With preshared keys and stored private keys.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write it there (0600): .json, .yaml, .toml, .csv, or .zip for the "
            "configurations of the peers.",
        ),
    ] = None,
) -> None:
    """Print peers as a document for `wgbind apply`, or a table for `wgbind peer add --from`.

    All peers, or those that names or options choose. Without --secrets it says only whether there
    is a preshared key.
    """
    from wgbind.server.handout import write_new

    if choice.names or choice.selection:
        opened, which = choice.open()
        peers = peers_of(opened, which, private_keys=secrets)
    else:
        opened = open_server(choice.server)
        peers = opened.peers.list(private_keys=secrets)
    if out is not None and out.suffix == ".zip":
        hand_out(opened, peers, out)
        typer.echo(f"Configurations of {peer_count(len(peers))} are in {out}.")
        return
    text = _text(peers, _form(out, form), secrets=secrets)
    if out is None:
        if secrets:
            warn_if_readable()
        sys.stdout.write(text)
        return
    write_new(out, text.encode())
    typer.echo(f"{peers_are(len(peers))} in {out}.")


def _form(out: Path | None, form: ExportForm | None) -> ExportForm:
    from wgbind.errors import InputError

    if form is not None or out is None:
        return form or ExportForm.JSON
    suffix = "yaml" if out.suffix == ".yml" else out.suffix.lstrip(".")
    try:
        return ExportForm(suffix)
    except ValueError:
        raise InputError(
            f"{out}: its name tells no format; call it .json, .yaml, .toml, .csv or .zip, or give "
            "--format"
        ) from None


def _text(peers: Sequence[Peer], form: ExportForm, *, secrets: bool) -> str:
    if form is ExportForm.CSV:
        from wgbind.server.peer_csv import table

        return table(peers, secrets=secrets)
    from wgbind.apply.export import exported

    return exported(peers, form.value, secrets=secrets)


def _print_plan(new: Sequence[NewPeer], *, as_json: bool) -> None:
    rows = [
        {
            "name": peer.name,
            "public_key": None if peer.public_key is None else str(peer.public_key),
            "addresses": [str(address) for address in peer.addresses or ()],
            "routed_networks": [str(network) for network in peer.routed_networks],
            "groups": sorted(peer.groups),
            "enabled": peer.enabled,
        }
        for peer in new
    ]
    if as_json:
        print_json(rows)
        return
    if rows:
        print_table(
            ("NAME", "PUBLIC KEY", "ADDRESSES", "NETWORKS", "GROUPS"),
            [
                (
                    peer.name,
                    "(a new one)" if peer.public_key is None else str(peer.public_key),
                    ", ".join(map(str, peer.addresses or ())) or "(the next free)",
                    ", ".join(map(str, peer.routed_networks)) or "-",
                    ", ".join(sorted(peer.groups)) or "-",
                )
                for peer in new
            ],
        )
    typer.echo(f"{peer_count(len(rows))} would be added.")
