"""`wgbind firewall`: who reaches whom, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from wgbind.cli.library import open_server
from wgbind.cli.output import (
    EXIT_CODES,
    Json,
    ServerName,
    print_fields,
    print_json,
    print_table,
    remark,
    size,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wgbind.api.firewall import PlanReport, RuleReport

app = typer.Typer(
    help="See, check and try the rules of a server; they stand in its settings.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
)


@app.command(epilog=EXIT_CODES)
def show(server: ServerName = "wg0", as_json: Json = False) -> None:
    """List the rules, the presets' too, and what they counted."""
    found = open_server(server).firewall.show()
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    typer.echo(f"{found.meaning}.")
    if not found.running:
        remark(f"{server} is stopped: these are the rules of its settings")
    print_rules(found.rules, found.forwards)
    typer.echo("\nThe first rule that matches decides; what no rule allows is denied.")
    refused = [f"{reason} {count}" for reason, count in found.refused.items() if count]
    if refused:
        typer.echo(f"Refused packets: {', '.join(refused)}.")


@app.command(epilog=f"{EXIT_CODES} Warnings are no failure.")
def check(server: ServerName = "wg0", as_json: Json = False) -> None:
    """Look for mistakes in the settings, and for rules most likely not meant."""
    found = open_server(server).firewall.check()
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in found])
    else:
        for finding in found:
            typer.echo(f"{finding.place}: {finding.severity}: {finding.message}")
        if not found:
            typer.echo("No mistakes, nothing to warn of.")
    if any(finding.severity == "error" for finding in found):
        raise typer.Exit(2)


@app.command(epilog=EXIT_CODES)
def plan(server: ServerName = "wg0", as_json: Json = False) -> None:
    """Show what `wgbind server reload` would change: rules, and who reaches what."""
    found = open_server(server).firewall.plan()
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    if not found.running:
        remark(f"{server} is stopped: the settings are compared to nothing allowed")
    _print_plan(found)


# An arrow of its own, '->', looks like an option.
@app.command(epilog=EXIT_CODES, context_settings={"ignore_unknown_options": True})
def explain(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE DESTINATION[:PORT] [PROTOCOL]",
            help="Who begins what with whom: a peer's name, an address, host or internet; tcp, "
            "udp, ping or icmp. In quotes an arrow may stand between: 'alice -> 10.0.0.9:22'.",
        ),
    ],
    server: ServerName = "wg0",
    as_json: Json = False,
) -> None:
    """Say whether a connection passes, and which rule decides."""
    found = open_server(server).firewall.explain(*words)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    verdict = "allowed" if found.allowed else "denied"
    typer.echo(f"{verdict}: {found.source} -> {found.destination} : {found.service}")
    print_fields(
        [
            ("why", found.reason),
            ("source", "becomes this host's address (NAT)" if found.nat else ""),
            ("path", "inside the server, past the kernel" if found.path == "process" else ""),
            *(("note", each) for each in found.remarks),
        ]
    )


def print_rules(rules: Sequence[RuleReport], forwards: Sequence[RuleReport]) -> None:
    """Print one line for each rule and forward, with what it counted."""
    for found, word in ((rules, "RULE"), (forwards, "FORWARD")):
        if found:
            typer.echo()
            print_table(("NO.", word, "NAME", "PACKETS", "BYTES"), list(map(_counted, found)))


def _counted(rule: RuleReport) -> tuple[str, ...]:
    packets = "-" if rule.packets is None else str(rule.packets)
    return (str(rule.number), rule.text, rule.name or "", packets, size(rule.bytes))


def _print_plan(found: PlanReport) -> None:
    if not (found.rules or found.other or found.reach):
        typer.echo("Nothing changes.")
        return
    for change in found.rules:
        sign = "+" if change.change == "added" else "-"
        name = f"  ({change.name})" if change.name else ""
        typer.echo(f"{sign} {change.number:>3}  {change.text}{name}")
    for line in found.other:
        typer.echo(f"* {line}")
    if not found.reach:
        typer.echo("Nobody reaches more or less than before.")
        return
    typer.echo()
    print_table(
        ("FROM", "TO", "GAINS", "LOSES"),
        [
            (each.source, each.destination, _or_dash(each.gained), _or_dash(each.lost))
            for each in found.reach
        ],
    )


def _or_dash(text: str) -> str:
    return "-" if text == "nothing" else text
