"""`wgbind server`: a server's life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from wgbind.cli import complete
from wgbind.cli.firewall import print_rules
from wgbind.cli.library import open_server
from wgbind.cli.output import (
    EXIT_CODES,
    Json,
    ago,
    duration,
    print_fields,
    print_json,
    print_table,
    remark,
    size,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wgbind.api.status import PeerReport, ServerStatus
    from wgbind.server.server import Server

_RULES_SHOWN = 20

app = typer.Typer(
    help="Start, stop and see a server. NAME is its interface.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
)

Name: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The server's interface.", autocompletion=complete.servers),
]


@app.command(epilog=EXIT_CODES)
def init(name: Name = "wg0", as_json: Json = False) -> None:
    """Write new settings and a new private key."""
    server = open_server(name)
    server.init()
    if as_json:
        print_json(server.status().model_dump(mode="json"))
    else:
        _print_choices(server)
        typer.echo(f"Next: wgbind server start{_argument(name)}")


@app.command(epilog=EXIT_CODES)
def start(
    name: Name = "wg0",
    foreground: Annotated[
        bool, typer.Option("--foreground", "-f", help="Stay, and log to standard error.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start a server; return when it works. Without settings, make them."""
    server = open_server(name)
    fresh = not server.paths.settings.exists()

    def ready() -> None:
        if as_json:
            print_json(server.status().model_dump(mode="json"))
            return
        status = server.status()
        if fresh:
            _print_choices(server)
        for problem in status.problems:
            remark(f"warning: not applied yet: {problem}")
        typer.echo(f"{name} is up (pid {status.pid}).")
        if not status.peers:
            typer.echo(f"Next: wgbind peer add phone{_option(name)}")

    if foreground:
        from wgbind.server.daemon import log_to_stderr, serve

        log_to_stderr()
        serve(server, ready)
    else:
        server.spawn()
        ready()


@app.command(epilog=EXIT_CODES)
def stop(name: Name = "wg0") -> None:
    """Stop a server; return when it is gone."""
    open_server(name).stop()
    typer.echo(f"{name} is down.")


@app.command(epilog=f"{EXIT_CODES} A server that is stopped is no failure: see the state.")
def status(
    name: Name = "wg0",
    live: Annotated[
        bool,
        typer.Option("--watch", "-w", help="Go on showing it, the busiest peers first; q ends."),
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Between two looks of --watch.")
    ] = 1.0,
    count: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="End --watch after so many looks.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a server and its peers.

    With --watch, each peer's traffic is drawn as it was at the latest looks; into a pipe go frames
    of text, and with --json a line for each look.
    """
    if live:
        from wgbind.cli.watch import watch

        watch(open_server(name).status, interval, count, as_json=as_json)
        return
    found = open_server(name).status()
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    typer.echo(headline(found))
    print_fields(_choices(found) + _traffic(found))
    if len(found.rules) <= _RULES_SHOWN:
        print_rules(found.rules, found.forwards)
    if found.peers:
        typer.echo()
        print_peers(found.peers)


@app.command(epilog=EXIT_CODES)
def events(
    name: Name = "wg0",
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each.")] = False,
) -> None:
    """Print what happens to peers, a line each, until the server stops or on Ctrl-C."""
    with open_server(name).events() as found:
        remark(f"listening to {name}; Ctrl-C ends")
        for event in found:
            if as_json:
                typer.echo(event.model_dump_json())
                continue
            if event.lost:
                remark(f"({event.lost} events were lost: they came faster than they were read)")
            typer.echo(f"{event.at.astimezone():%Y-%m-%d %H:%M:%S}  {event}")


@app.command(epilog=EXIT_CODES)
def metrics(name: Name = "wg0") -> None:
    """Print the server's state in Prometheus' text format, as GET /metrics of its API does."""
    from wgbind.api.metrics import exposition

    typer.echo(exposition(open_server(name).status()), nl=False)


@app.command(epilog=EXIT_CODES)
def reload(name: Name = "wg0") -> None:
    """Let a running server read its settings again; sessions go on."""
    server = open_server(name)
    problems = server.reload()
    for finding in server.firewall.check():
        remark(f"{finding.place}: {finding.severity}: {finding.message}")
    for problem in problems:
        remark(f"warning: not applied yet: {problem}")
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{name} works by its settings now.")


def print_peers(peers: Sequence[PeerReport]) -> None:
    """Print one line for each peer."""
    print_table(
        (
            "NAME",
            "STATE",
            "GROUPS",
            "ALLOWED IPS",
            "ENDPOINT",
            "LAST HANDSHAKE",
            "RECEIVED",
            "SENT",
        ),
        [
            (
                peer.name or f"({peer.public_key})",
                peer.state,
                ", ".join(peer.groups) or "-",
                ", ".join(peer.allowed_ips),
                peer.endpoint or "-",
                ago(peer.last_handshake),
                size(peer.rx_bytes),
                size(peer.tx_bytes),
            )
            for peer in peers
        ],
    )


def _print_choices(server: Server) -> None:
    """Say what new settings say, and where to change it."""
    status = server.status()
    typer.echo(f"{server.name} had no settings; chosen and written to {server.paths.settings}:")
    print_fields(_choices(status))
    typer.echo(f"After a change: wgbind server reload{_argument(server.name)}")


def headline(status: ServerStatus) -> str:
    """Say in a line whether a server runs, and since when."""
    if status.started_at is None:
        return f"{status.name} is stopped"
    from datetime import datetime, timezone

    uptime = duration(datetime.now(timezone.utc) - status.started_at)
    return f"{status.name} is running (pid {status.pid}, {uptime})"


def _choices(status: ServerStatus) -> list[tuple[str, str]]:
    remark = f" ({status.endpoint_remark})" if status.endpoint_remark else ""
    return [
        ("public key", str(status.public_key)),
        ("addresses", ", ".join(map(str, status.addresses))),
        ("port", f"{status.listen_port}/udp" if status.listen_port else "chosen at the start"),
        ("endpoint", f"{status.endpoint or 'unknown'}{remark}"),
        ("egress", ", ".join(status.egress) or "any interface"),
        ("preset", ", ".join(status.preset) or "none"),
        ("policy", status.meaning),
    ]


def _traffic(status: ServerStatus) -> list[tuple[str, str]]:
    return [
        ("peers", str(len(status.peers))),
        ("without", _absent(status.features)),
        ("dropped", _counts(status.drops)),
        ("handshakes", _counts(status.handshakes)),
        ("refused", _counts(status.refused)),
        ("rules", _rules(status)),
        *(("problem", problem) for problem in status.problems),
    ]


def _absent(features: Mapping[str, str]) -> str:
    reasons = {"off": "by the settings", "refused": "refused by the kernel"}
    return ", ".join(
        f"{name} ({reasons[state]})" for name, state in features.items() if state != "on"
    )


def _rules(status: ServerStatus) -> str:
    if len(status.rules) <= _RULES_SHOWN:
        return ""
    return f"{len(status.rules)}; `wgbind firewall show{_option(status.name)}` lists them"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)


def _argument(name: str) -> str:
    return "" if name == "wg0" else f" {name}"


def _option(name: str) -> str:
    return "" if name == "wg0" else f" --server {name}"
