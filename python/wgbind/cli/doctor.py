"""`wgbind doctor`: what stands in a server's way."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from wgbind.cli.library import open_server
from wgbind.cli.output import Json, print_json


def doctor(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The server's interface.")] = "wg0",
    as_json: Json = False,
) -> None:
    """Find what on this host stands in a server's way, such as the rules of other firewalls.

    It changes nothing; each finding comes with what mends it.
    """
    from wgbind.doctor.examine import examine
    from wgbind.server.privilege import require_net_admin

    require_net_admin("looking at the rules of this host")
    findings = examine(open_server(name))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{'BLOCKS' if finding.blocks else 'warning'}: {finding.problem}")
            typer.echo(f"  remedy: {finding.remedy}")
        if not findings:
            typer.echo(f"Nothing stands in the way of {name}.")
    if any(finding.blocks for finding in findings):
        raise typer.Exit(1)
