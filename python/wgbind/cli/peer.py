"""`wgbind peer`: who may connect."""

from __future__ import annotations

import sys
from math import inf
from pathlib import Path  # noqa: TC003 (Typer reads it)
from typing import TYPE_CHECKING, Annotated

import typer

from wgbind.cli.library import open_server
from wgbind.cli.output import (
    EXIT_CODES,
    Json,
    ServerName,
    ago,
    print_fields,
    print_json,
    remark,
    size,
    warn_if_readable,
)
from wgbind.cli.peer_options import (
    AllowedIps,
    Description,
    Dns,
    Exclude,
    Expires,
    ListedState,
    NewKey,
    PresharedKeyChange,
    Qr,
    Sorting,
    Which,
)
from wgbind.cli.server import print_peers

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from wgbind.api.status import PeerReport
    from wgbind.server.server import Server
    from wgbind.store.peer import Peer

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
def add(
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
        typer.Option(metavar="GROUP", help="Group that it is in; repeatable."),
    ] = None,
    allowed_ips: AllowedIps = None,
    exclude: Exclude = None,
    dns: Dns = None,
    description: Description = None,
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
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="Where --from writes their configurations."),
    ] = None,
    qr: Qr = None,
    as_json: Json = False,
) -> None:
    """Add a peer; print its configuration for wg-quick and the apps.

    The private key in it is shown this once, unless the settings say client.store_private_keys.
    Columns of a CSV file: name, public_key, address, route, group, endpoint, keepalive, psk (yes or
    no), description, expires, allowed_ips, exclude, dns; spaces between several values.
    """
    from wgbind import PublicKey
    from wgbind.errors import InputError
    from wgbind.settings.address import parse_address, parse_network
    from wgbind.settings.client import ClientOverrides

    if table is not None or out is not None:
        one = (name, public_key, address, route, group, allowed_ips, exclude, dns, description)
        if table is None or out is None or not psk or expires or any(one):
            raise InputError("give --from FILE and --out DIRECTORY, and the rest in its columns")
        _add_table(open_server(server), table, out, as_json=as_json)
        return
    if name is None:
        raise InputError("name: it is missing; give NAME, or --from FILE")
    client = ClientOverrides().changed(allowed_ips=allowed_ips, excluded_ips=exclude, dns=dns)
    opened = open_server(server)
    peer = opened.peers.add(
        name,
        public_key=None if public_key is None else PublicKey(public_key),
        preshared_key=psk,
        addresses=[parse_address(text) for text in address] if address else None,
        routed_networks=[parse_network(text) for text in route or ()],
        groups=group or (),
        client=client,
        description=description or "",
        expires_at=_moment(expires),
    )
    _print_configuration(opened, peer, qr=qr, as_json=as_json)


@app.command(epilog=EXIT_CODES)
def config(name: Which, server: ServerName = "wg0", qr: Qr = None, as_json: Json = False) -> None:
    """Print a peer's configuration again; without the private key if that is not stored."""
    opened = open_server(server)
    _print_configuration(opened, opened.peers.get(name), qr=qr, as_json=as_json)


@app.command("list", epilog=EXIT_CODES)
def list_(
    server: ServerName = "wg0",
    group: Annotated[
        str | None, typer.Option(metavar="GROUP", help="List only who is in this group.")
    ] = None,
    state: Annotated[
        list[ListedState] | None,
        typer.Option(help="List only who is in this state; repeatable.", show_default=False),
    ] = None,
    sort: Annotated[
        Sorting, typer.Option(help="What comes first: the newest, the most, or by name.")
    ] = Sorting.NAME,
    as_json: Json = False,
) -> None:
    """List the peers of a server.

    A peer is connected while its session lives, idle when that is over, never connected, or
    disabled or expired: not served.
    """
    peers = open_server(server).status().peers
    found = [
        peer
        for peer in peers
        if (group is None or group in peer.groups) and (not state or peer.state in state)
    ]
    if sort is not Sorting.NAME:
        found.sort(key=_KEYS[sort])
    if as_json:
        print_json([peer.model_dump(mode="json") for peer in found])
    elif found:
        print_peers(found)
    elif peers and state:
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


@app.command("set", epilog=EXIT_CODES)
def set_(
    which: Which,
    server: ServerName = "wg0",
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Its new name.")] = None,
    description: Description = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="As of `wgbind peer add`; never takes the date away."),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where it listens; none forgets it."),
    ] = None,
    keepalive: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", help="Between packets that the server sends it; 0 is off."),
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Its address in place of those it has; repeatable."),
    ] = None,
    route: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="Network behind it in place of those it has; none for no network; repeatable.",
        ),
    ] = None,
    psk: Annotated[
        PresharedKeyChange | None, typer.Option(help="Its preshared key.", show_default=False)
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="Put it into this group; repeatable."),
    ] = None,
    no_group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="Take it out of this group; repeatable."),
    ] = None,
    allowed_ips: AllowedIps = None,
    exclude: Exclude = None,
    dns: Dns = None,
    as_json: Json = False,
) -> None:
    """Change a peer, all that is named or nothing; its session goes on where it can.

    What its own configuration says (--allowed-ips, --exclude, --dns) replaces what was said before;
    "default" is what the others of its groups get. `wgbind peer config` prints it anew.
    """
    from dataclasses import replace

    from wgbind import PresharedKey
    from wgbind.errors import InputError
    from wgbind.server.report import stored_peer_report
    from wgbind.settings.address import parse_address, parse_network, parse_peer_endpoint
    from wgbind.store import PeerChanges

    changes = PeerChanges()
    if name is not None:
        changes["name"] = name
    if description is not None:
        changes["description"] = description
    if expires is not None:
        changes["expires_at"] = None if expires == "never" else _moment(expires)
    if endpoint is not None:
        changes["endpoint"] = None if endpoint == "none" else parse_peer_endpoint(endpoint)
    if keepalive is not None:
        changes["persistent_keepalive"] = keepalive
    if address:
        changes["addresses"] = tuple(map(parse_address, address))
    if route:
        changes["routed_networks"] = () if route == ["none"] else tuple(map(parse_network, route))
    client = {"allowed_ips": allowed_ips, "excluded_ips": exclude, "dns": dns}
    if not (changes or psk or group or no_group or any(client.values())):
        raise InputError("there is nothing to change; give --group, --expires or another")
    if psk is PresharedKeyChange.OFF:
        changes["preshared_key"] = None
    elif psk is PresharedKeyChange.NEW:
        changes["preshared_key"] = PresharedKey.generate()
    peers = open_server(server).peers

    def edit(old: Peer) -> Peer:
        new = replace(peers.regrouped(old, group or (), no_group or ()), **changes)
        if psk is PresharedKeyChange.ON and old.preshared_key is None:
            new = replace(new, preshared_key=PresharedKey.generate())
        return replace(new, client=old.client.changed(**client))

    peer = peers.edit(which, edit)
    if as_json:
        print_json(stored_peer_report(peer).model_dump(mode="json"))
        return
    if address or psk or any(client.values()):
        typer.echo(f"{peer.name} needs its configuration anew: wgbind peer config {peer.name}")
    elif changes:
        typer.echo(f"{peer.name} is changed.")
    if group or no_group:
        typer.echo(f"{peer.name} is in {', '.join(sorted(peer.groups)) or 'no group'} now.")


@app.command(epilog=EXIT_CODES)
def disable(name: Which, server: ServerName = "wg0", as_json: Json = False) -> None:
    """Serve a peer no more; it keeps its addresses and groups, its session ends at once."""
    _print_change(open_server(server).peers.disable(name), "disabled", as_json=as_json)


@app.command(epilog=EXIT_CODES)
def enable(
    name: Which, server: ServerName = "wg0", expires: Expires = None, as_json: Json = False
) -> None:
    """Serve a peer again; who has expired needs a new date for that."""
    peer = open_server(server).peers.enable(name, expires_at=_moment(expires))
    _print_change(peer, "enabled", as_json=as_json)


@app.command(epilog=EXIT_CODES)
def rotate(
    name: Which,
    server: ServerName = "wg0",
    public_key: NewKey = None,
    qr: Qr = None,
    as_json: Json = False,
) -> None:
    """Give a peer new keys, print its new configuration; the old one ends at once.

    The preshared key is new too, if it has one. The private key is shown this once, unless the
    settings say client.store_private_keys.
    """
    from wgbind import PublicKey

    opened = open_server(server)
    peer = opened.peers.rotate(
        name, public_key=None if public_key is None else PublicKey(public_key)
    )
    _print_configuration(opened, peer, qr=qr, as_json=as_json)


@app.command(epilog=EXIT_CODES)
def remove(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Names or public keys of the peers.")
    ],
    server: ServerName = "wg0",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove peers, all of them or none; their sessions end at once.

    On a terminal it asks first; a script (no terminal on standard input) is not asked.
    """
    from wgbind.server.report import stored_peer_report

    peers = open_server(server).peers
    if sys.stdin.isatty() and not yes:
        found = ", ".join(peers.get(name).name for name in names)
        if not typer.confirm(f"Remove {found} from {server}? It cannot be undone.", err=True):
            remark("Nothing is removed.")
            raise typer.Exit(1)
    removed = peers.remove_many(names)
    if as_json:
        print_json([stored_peer_report(peer).model_dump(mode="json") for peer in removed])
        return
    for peer in removed:
        typer.echo(f"{peer.name} is removed from {server}.")


def _add_table(server: Server, table: Path, out: Path, *, as_json: bool) -> None:
    from wgbind.server.handout import Handout
    from wgbind.server.peer_csv import PeerTable
    from wgbind.server.report import stored_peer_report

    rows = PeerTable(table)
    handout = Handout(out, rows.names)
    peers = rows.add_to(server.peers)
    for peer, configuration in zip(peers, server.peers.client_configurations(peers), strict=True):
        handout.write(peer.name, configuration)
    if as_json:
        print_json([stored_peer_report(peer).model_dump(mode="json") for peer in peers])
    else:
        typer.echo(f"{len(peers)} peers are added; their configurations are in {out}.")


def _timestamp(moment: datetime | None, default: float) -> float:
    return default if moment is None else moment.timestamp()


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    from datetime import datetime, timezone

    from wgbind.store.expiry import parse_expiry

    return parse_expiry(text, datetime.now(timezone.utc))


def _print_change(peer: Peer, what: str, *, as_json: bool) -> None:
    from wgbind.server.report import stored_peer_report
    from wgbind.store.expiry import utc_text

    if as_json:
        print_json(stored_peer_report(peer).model_dump(mode="json"))
        return
    until = ""
    if peer.enabled and peer.expires_at is not None:
        until = f" until {utc_text(peer.expires_at)}"
    typer.echo(f"{peer.name} is {what}{until}.")


def _print_configuration(server: Server, peer: Peer, *, qr: bool | None, as_json: bool) -> None:
    """Print the configuration on standard output, and what to know of it on standard error."""
    from wgbind.server.report import stored_peer_report

    text = server.peers.client_configuration(peer).text()
    if peer.private_key is not None:
        warn_if_readable()
    if as_json:
        report = stored_peer_report(peer).model_dump(mode="json")
        print_json({"peer": report, "configuration": text})
        return
    typer.echo(text, nl=False)
    if qr or (qr is None and sys.stdout.isatty() and peer.private_key is not None):
        from wgbind.settings.qr import terminal

        typer.echo(terminal(text))
    if peer.private_key is None:
        remark(f"Its private key is not stored here: {peer.name} puts it in the comment's place.")
    endpoint = server.advertised()
    if endpoint.remark is not None:
        remark(f"Endpoint {endpoint.endpoint or 'unknown'}: {endpoint.remark}.")


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
    ]
