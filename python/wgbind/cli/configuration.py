"""Configurations of peers: `wgbind peer config` and `qr`, and what others print of them."""

from __future__ import annotations

import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from wgbind.cli.library import open_server
from wgbind.cli.options import expanded
from wgbind.cli.output import (
    Json,
    ServerName,
    peer_count,
    print_json,
    remark,
    warn_if_readable,
)
from wgbind.cli.peer_options import (  # noqa: TC001 (Typer reads them)
    ClientOptions,
    EndpointName,
    Out,
    Qr,
    Which,
)
from wgbind.cli.selection import Choice, peers_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from wgbind.server.handout import Form
    from wgbind.server.server import Server
    from wgbind.settings.wg_quick import ClientConfiguration
    from wgbind.store.peer import Peer


class QrForm(str, Enum):
    """How a QR code is drawn."""

    TERMINAL = "terminal"
    SVG = "svg"
    PNG = "png"


@expanded
def config(
    choice: Choice,
    *,
    endpoint: EndpointName = None,
    client: ClientOptions,
    out: Out = None,
    qr: Qr = None,
    as_json: Json = False,
) -> None:
    """Print configurations again; without the private key if that is not stored.

    --allowed-ips, --exclude, --dns and --mtu hold for what is printed now; `wgbind peer set` keeps
    them.
    """
    from dataclasses import replace

    from wgbind.errors import InputError

    opened, which = choice.open()
    found = peers_of(opened, which)
    peers = [replace(peer, client=peer.client.changed(**client.texts)) for peer in found]
    if out is not None:
        hand_out(opened, peers, out, endpoint)
        typer.echo(f"Configurations of {peer_count(len(peers))} are in {out}.")
        return
    ways = endpoint_names(opened, endpoint)
    if len(peers) * len(ways) == 1:
        print_configuration(opened, peers[0], endpoint=ways[0], qr=qr, as_json=as_json)
    elif as_json:
        print_json([report for way in ways for report in _reports(opened, peers, way)])
    else:
        raise InputError(
            f"these are {len(peers) * len(ways)} configurations; give --out DIRECTORY or FILE.zip"
        )


def qr(
    name: Which,
    server: ServerName = "wg0",
    form: Annotated[
        QrForm, typer.Option("--format", help="How it is drawn; --out FILE.png tells it, too.")
    ] = QrForm.TERMINAL,
    endpoint: EndpointName = None,
    out: Out = None,
) -> None:
    """Draw the QR code of a configuration whose private key is stored.

    A peer's private key is stored only if the settings say client.store_private_keys; else `wgbind
    peer add --qr` and `wgbind peer rotate --qr` draw it once.
    """
    from wgbind.errors import InputError
    from wgbind.server.handout import content
    from wgbind.settings.qr import terminal

    opened = open_server(server)
    peer = opened.peers.get(name, private_keys=True)
    if peer.private_key is None:
        raise InputError(
            f"peer {peer.name}: its private key is not stored here, and a code without it is of no "
            f"use; `wgbind peer rotate {peer.name} --qr` makes a new one"
        )
    if out is not None:
        hand_out(opened, [peer], out, endpoint, "svg" if form is QrForm.SVG else "png")
        typer.echo(f"The QR code of {peer.name} is in {out}.")
        return
    ways = endpoint_names(opened, endpoint)
    if len(ways) > 1:
        raise InputError(f"these are {len(ways)} codes; give --out DIRECTORY")
    configuration = opened.peers.client_configuration(peer, endpoint=ways[0])
    warn_if_readable()
    if form is QrForm.TERMINAL:
        typer.echo(terminal(configuration.text()), nl=False)
    elif form is QrForm.PNG and sys.stdout.isatty():
        raise InputError("a PNG is no text for a terminal; give --out FILE.png, or redirect it")
    else:
        sys.stdout.buffer.write(content(configuration, "svg" if form is QrForm.SVG else "png"))
        sys.stdout.flush()


def print_configuration(
    server: Server, peer: Peer, *, endpoint: str | None = None, qr: bool | None, as_json: bool
) -> None:
    """Print the configuration on standard output, and what to know of it on standard error."""
    (configuration,) = server.peers.client_configurations([peer], endpoint=endpoint)
    if configuration.private_key is not None:
        warn_if_readable()
    if as_json:
        print_json(_report(peer, configuration, endpoint))
        return
    text = configuration.text()
    typer.echo(text, nl=False)
    if qr or (qr is None and sys.stdout.isatty() and configuration.private_key is not None):
        from wgbind.settings.qr import terminal

        typer.echo(terminal(text))
    if configuration.private_key is None:
        remark(f"Its private key is not stored here: {peer.name} puts it in the comment's place.")
    advertised = server.advertised(endpoint)
    if advertised.remark is not None:
        remark(f"Endpoint {advertised.endpoint or 'unknown'}: {advertised.remark}.")


def hand_out(
    server: Server,
    peers: Sequence[Peer],
    out: Path,
    endpoint: str | None = None,
    form: Form = "conf",
) -> None:
    """Write configurations of peers to files; one for each endpoint if that is "all"."""
    from wgbind.server.handout import Handout

    ways = endpoint_names(server, endpoint)
    configurations = dict(_named(server, peers, ways))
    Handout(out, configurations, form).write(configurations)


def require_place_for_keys(server: Server, made: Sequence[str], out: Path | None) -> None:
    """Refuse to make private keys, for peers of these names, that nobody would ever see."""
    from wgbind.errors import InputError, NotFoundError, PrivilegeError

    if not made or out is not None:
        return
    try:
        kept = server.configuration().settings.client.store_private_keys
    except NotFoundError:
        return
    except PrivilegeError:  # who is let in at the control socket alone
        kept = False
    if not kept:
        who = f"new peer {made[0]} gets"
        if len(made) > 1:
            who = f"{len(made)} new peers, {made[0]} the first, get"
        raise InputError(
            f"{who} a private key that is shown this once; give --out DIRECTORY or FILE.zip, or "
            "public keys"
        )


def file_names(server: Server, names: Sequence[str], endpoint: str | None) -> list[str]:
    """Return what the files of peers will be called, before there are such peers."""
    ways = endpoint_names(server, endpoint)
    return [_file_name(name, way, ways) for way in ways for name in names]


def endpoint_names(server: Server, endpoint: str | None) -> Sequence[str | None]:
    """Return the endpoints that an option means: one, or all; None is the one for all.

    Raises `InputError` if there is no such one.
    """
    from wgbind.errors import InputError
    from wgbind.settings.client import ALL

    if endpoint != ALL:
        server.advertised(endpoint)
        return [endpoint]
    found = list(server.configuration().settings.client.endpoints)
    if not found:
        raise InputError("the settings name no endpoints; [client.endpoints] is where they stand")
    return found


def _named(
    server: Server, peers: Sequence[Peer], ways: Sequence[str | None]
) -> Iterator[tuple[str, ClientConfiguration]]:
    for way in ways:
        configurations = server.peers.client_configurations(peers, endpoint=way)
        for peer, configuration in zip(peers, configurations, strict=True):
            yield _file_name(peer.name, way, ways), configuration


def _file_name(name: str, way: str | None, ways: Sequence[str | None]) -> str:
    return name if len(ways) == 1 else f"{name}-{way}"


def _reports(server: Server, peers: Sequence[Peer], way: str | None) -> list[dict[str, object]]:
    configurations = server.peers.client_configurations(peers, endpoint=way)
    return [
        _report(peer, configuration, way)
        for peer, configuration in zip(peers, configurations, strict=True)
    ]


def _report(peer: Peer, configuration: ClientConfiguration, way: str | None) -> dict[str, object]:
    from wgbind.server.report import stored_peer_report

    return {
        "peer": stored_peer_report(peer).model_dump(mode="json"),
        "configuration": configuration.text(),
        **({} if way is None else {"endpoint": way}),
    }
