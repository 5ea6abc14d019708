"""`wgbind peer`: who may connect."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, TypeAlias

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
from wgbind.cli.server import print_peers

if TYPE_CHECKING:
    from wgbind.api.status import PeerReport
    from wgbind.server.server import Server
    from wgbind.store.peer import Peer

app = typer.Typer(
    help="Add, list, show, change and remove peers, whether the server runs or not.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
)

PeerName: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="Name of the peer.")]
Which: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="Name or public key of the peer.")
]
Qr: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--qr/--no-qr",
        help="Print the QR code behind it; by default only on a terminal.",
        show_default=False,
    ),
]
AllowedIps: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WORD|NETWORK",
        help="What it reaches through the tunnel: full, split, or networks; repeatable.",
    ),
]
Exclude: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="NETWORK", help="What it does not, though it lies in those; repeatable."),
]
Dns: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="ADDRESS|DOMAIN", help="Its name servers and domains; repeatable."),
]


@app.command(epilog=EXIT_CODES)
def add(
    name: PeerName,
    server: ServerName = "wg0",
    public_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Its key, if it keeps its private key to itself."),
    ] = None,
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
    psk: Annotated[bool, typer.Option("--psk/--no-psk", help="Make a preshared key.")] = True,
    qr: Qr = None,
    as_json: Json = False,
) -> None:
    """Add a peer; print its configuration for wg-quick and the apps.

    The private key in it is shown this once, unless the settings say client.store_private_keys.
    """
    from wgbind import PublicKey
    from wgbind.settings.address import parse_address, parse_network
    from wgbind.settings.client import ClientOverrides

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
    as_json: Json = False,
) -> None:
    """List the peers of a server."""
    peers = open_server(server).status().peers
    found = [peer for peer in peers if group is None or group in peer.groups]
    if as_json:
        print_json([peer.model_dump(mode="json") for peer in found])
    elif found:
        print_peers(found)
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
    name: Which,
    server: ServerName = "wg0",
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
    """Change a peer; its session goes on.

    What its own configuration says (--allowed-ips, --exclude, --dns) replaces what was said before;
    "default" is what the others of its groups get. `wgbind peer config` prints it anew.
    """
    from wgbind.errors import InputError
    from wgbind.server.report import stored_peer_report

    if not (group or no_group or allowed_ips or exclude or dns):
        raise InputError("there is nothing to change; give --group, --allowed-ips or another")
    peers = open_server(server).peers
    peer = peers.get(name)
    if allowed_ips or exclude or dns:
        client = peer.client.changed(allowed_ips=allowed_ips, excluded_ips=exclude, dns=dns)
        peer = peers.update(peer.public_key, client=client)
    if group or no_group:
        peer = peers.regroup(peer.public_key, join=group or (), leave=no_group or ())
    if as_json:
        print_json(stored_peer_report(peer).model_dump(mode="json"))
    else:
        if allowed_ips or exclude or dns:
            typer.echo(f"{peer.name} needs its configuration anew: wgbind peer config {peer.name}")
        if group or no_group:
            typer.echo(f"{peer.name} is in {', '.join(sorted(peer.groups)) or 'no group'} now.")


@app.command(epilog=EXIT_CODES)
def remove(name: Which, server: ServerName = "wg0", as_json: Json = False) -> None:
    """Remove a peer; its session ends at once."""
    from wgbind.server.report import stored_peer_report

    peer = open_server(server).peers.remove(name)
    if as_json:
        print_json(stored_peer_report(peer).model_dump(mode="json"))
    else:
        typer.echo(f"{peer.name} is removed from {server}.")


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
    return [
        ("name", peer.name or "(added by wg set)"),
        ("public key", str(peer.public_key)),
        ("preshared key", "yes" if peer.has_preshared_key else "no"),
        ("groups", ", ".join(peer.groups)),
        ("allowed ips", ", ".join(peer.allowed_ips)),
        ("endpoint", peer.endpoint or "-"),
        ("keepalive", f"{peer.persistent_keepalive} s" if peer.persistent_keepalive else "off"),
        ("last handshake", ago(peer.last_handshake)),
        ("received", size(peer.rx_bytes)),
        ("sent", size(peer.tx_bytes)),
    ]
