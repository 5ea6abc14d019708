"""`wgbind peer`: who may connect."""

from __future__ import annotations

from math import inf
from pathlib import Path  # noqa: TC003 (Typer reads it)
from typing import TYPE_CHECKING, Annotated

import typer

from wgbind.cli import complete, peer_change, transfer
from wgbind.cli.configuration import config, file_names, hand_out, print_configuration, qr
from wgbind.cli.library import open_server
from wgbind.cli.options import expanded
from wgbind.cli.output import (
    EXIT_CODES,
    Json,
    ServerName,
    ago,
    moment,
    peers_are,
    print_fields,
    print_json,
    remark,
    size,
)
from wgbind.cli.peer_options import (
    ClientOptions,
    Description,
    EndpointName,
    Expires,
    ListedState,
    NewKey,
    Notes,
    Out,
    Qr,
    ServerKeepalive,
    Sorting,
    Which,
)
from wgbind.cli.selection import ExpiresBefore, Match, SilentSince, States, selection
from wgbind.cli.server import print_peers
from wgbind.precedence import give_way

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from wgbind.api.status import PeerReport
    from wgbind.server.server import Server

app = typer.Typer(
    help="Add, list, show, change and remove peers, whether the server runs or not.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
)

_STATES = list(ListedState)
_KEYS: dict[Sorting, Callable[[PeerReport], float]] = {
    Sorting.STATE: lambda peer: _STATES.index(ListedState(peer.state)),
    Sorting.HANDSHAKE: lambda peer: -_timestamp(peer.last_handshake, 0),
    Sorting.RECEIVED: lambda peer: -(peer.rx_bytes or 0),
    Sorting.SENT: lambda peer: -(peer.tx_bytes or 0),
    Sorting.EXPIRES: lambda peer: _timestamp(peer.expires_at, inf),
}


@app.command(epilog=EXIT_CODES)
@expanded
def add(
    *,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of the peer.", show_default=False)
    ] = None,
    server: ServerName = "wg0",
    public_key: NewKey = None,
    address: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Its address, if not the next free; repeatable."),
    ] = None,
    route: Annotated[
        list[str] | None,
        typer.Option(metavar="NETWORK", help="Network behind it, reached by it; repeatable."),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GROUP",
            help="Group that it is in; repeatable.",
            autocompletion=complete.groups,
        ),
    ] = None,
    client: ClientOptions,
    keepalive: ServerKeepalive = None,
    description: Description = None,
    notes: Notes = None,
    expires: Expires = None,
    psk: Annotated[bool, typer.Option("--psk/--no-psk", help="Make a preshared key.")] = True,
    table: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Add those of this CSV file, all or none; its header names the fields.",
        ),
    ] = None,
    endpoint: EndpointName = None,
    out: Out = None,
    qr: Qr = None,
    as_json: Json = False,
) -> None:
    """Add a peer; print its configuration for wg-quick and the apps.

    The private key in it is shown this once, unless the settings say client.store_private_keys.
    Columns of a CSV file: name, public_key, private_key, preshared_key, psk (yes or no), address,
    route, group, endpoint, keepalive, description, notes, expires, enabled (yes or no),
    allowed_ips, exclude, dns, mtu; spaces between several values.
    """
    from wgbind import PublicKey
    from wgbind.errors import InputError
    from wgbind.server.handout import Handout
    from wgbind.settings.address import parse_address, parse_network
    from wgbind.settings.client import ClientOverrides

    if table is not None:
        texts = (name, public_key, description, expires, notes)
        one = (*texts, address, route, group, keepalive, *client.texts.values())
        if out is None or not psk or any(one):
            raise InputError("give --from FILE and --out PATH, and the rest in its columns")
        _add_table(open_server(server), table, out, endpoint, as_json=as_json)
        return
    if name is None:
        raise InputError("name: it is missing; give NAME, or --from FILE")
    opened = open_server(server)
    if out is not None:
        Handout(out, file_names(opened, [name], endpoint))
    peer = opened.peers.add(
        name,
        public_key=None if public_key is None else PublicKey(public_key),
        preshared_key=psk,
        addresses=[parse_address(text) for text in address] if address else None,
        routed_networks=[parse_network(text) for text in route or ()],
        groups=group or (),
        client=ClientOverrides().changed(**client.texts),
        persistent_keepalive=keepalive or 0,
        description=description or "",
        expires_at=moment(expires),
        notes=notes or "",
    )
    if out is not None:
        hand_out(opened, [peer], out, endpoint)
        typer.echo(f"{peer.name} is added; its configuration is in {out}.")
        return
    print_configuration(opened, peer, endpoint=endpoint, qr=qr, as_json=as_json)


@app.command("list", epilog=EXIT_CODES)
def list_(
    server: ServerName = "wg0",
    match: Match = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            "--in-group",
            metavar="GROUP",
            help="Who is in the group.",
            autocompletion=complete.groups,
        ),
    ] = None,
    state: States = None,
    silent_since: SilentSince = None,
    expires_before: ExpiresBefore = None,
    sort: Annotated[
        Sorting, typer.Option(help="What comes first: the newest, the most, or by name.")
    ] = Sorting.NAME,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    as_json: Json = False,
) -> None:
    """List the peers of a server, all, or those whom every option given chooses.

    A peer is connected while its session lives, idle when that is over, never connected, or
    disabled or expired: not served.
    """
    peers = open_server(server).status().peers
    found = selection(match, group, state, silent_since, expires_before).of(peers)
    if sort is not Sorting.NAME:
        found.sort(key=_KEYS[sort])
    if reverse:
        found.reverse()
    others = (match, state, silent_since, expires_before)
    if as_json:
        print_json([peer.model_dump(mode="json") for peer in found])
    elif found:
        print_peers(found)
    elif peers and any(others):
        remark(f"no peer of {server} is listed so; `wgbind peer list` shows all")
    elif peers:
        remark(f"no peer of {server} is in group {group!r}; `wgbind peer set` puts one there")
    else:
        remark(f"{server} has no peers; `wgbind peer add NAME` adds one")


@app.command(epilog=EXIT_CODES)
def show(name: Which, server: ServerName = "wg0", as_json: Json = False) -> None:
    """Show one peer."""
    found = open_server(server).peer_report(name)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_fields(_fields(found))


app.command("set", epilog=EXIT_CODES)(peer_change.set_)
app.command(epilog=EXIT_CODES)(peer_change.enable)
app.command(epilog=EXIT_CODES)(peer_change.disable)
app.command(epilog=EXIT_CODES)(peer_change.rotate)
app.command(epilog=EXIT_CODES)(peer_change.remove)
app.command(epilog=EXIT_CODES)(config)
app.command(epilog=EXIT_CODES)(qr)
app.command("import", epilog=EXIT_CODES)(transfer.import_)
app.command(epilog=EXIT_CODES)(transfer.export)


def _add_table(
    server: Server, table: Path, out: Path, endpoint: str | None, *, as_json: bool
) -> None:
    from wgbind.server.handout import Handout
    from wgbind.server.peer_csv import PeerTable
    from wgbind.server.report import stored_peer_report

    give_way()
    rows = PeerTable(table)
    Handout(out, file_names(server, rows.names, endpoint))
    peers = rows.add_to(server.peers)
    hand_out(server, peers, out, endpoint)
    if as_json:
        print_json([stored_peer_report(peer).model_dump(mode="json") for peer in peers])
    else:
        typer.echo(f"{peers_are(len(peers))} added; their configurations are in {out}.")


def _timestamp(moment: datetime | None, default: float) -> float:
    return default if moment is None else moment.timestamp()


def _fields(peer: PeerReport) -> list[tuple[str, str]]:
    from wgbind.store.expiry import utc_text

    return [
        ("name", peer.name or "(added by wg set)"),
        ("public key", str(peer.public_key)),
        ("preshared key", "yes" if peer.has_preshared_key else "no"),
        ("description", peer.description),
        ("state", peer.state),
        ("expires", "never" if peer.expires_at is None else utc_text(peer.expires_at)),
        ("groups", ", ".join(peer.groups)),
        ("allowed ips", ", ".join(peer.allowed_ips)),
        ("endpoint", peer.endpoint or "-"),
        ("keepalive", f"{peer.persistent_keepalive} s" if peer.persistent_keepalive else "off"),
        ("last handshake", ago(peer.last_handshake)),
        ("received", size(peer.rx_bytes)),
        ("sent", size(peer.tx_bytes)),
        ("last seen", ago(peer.last_seen)),
        ("received in all", size(peer.total_rx_bytes)),
        ("sent in all", size(peer.total_tx_bytes)),
        ("notes", peer.notes.replace("\n", "\n" + " " * 19)),
    ]
