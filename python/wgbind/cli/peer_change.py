"""`wgbind peer set`, `enable`, `disable`, `rotate` and `remove`: of one peer, or of many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from wgbind.cli import complete
from wgbind.cli.configuration import file_names, hand_out, print_configuration
from wgbind.cli.options import expanded
from wgbind.cli.output import Json, confirm, moment, print_json, remark
from wgbind.cli.peer_options import (
    ClientOptions,
    Description,
    EndpointName,
    Expires,
    NewKey,
    Notes,
    Out,
    PresharedKeyChange,
    Qr,
    ServerKeepalive,
)
from wgbind.cli.selection import Choice, Yes, peers_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wgbind.api.change import Change
    from wgbind.server.server import Server
    from wgbind.store.peer import Peer

_SHOWN = 5  # names in a question


@expanded
def set_(
    choice: Choice,
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Its new name.")] = None,
    description: Description = None,
    notes: Notes = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="As of `wgbind peer add`; never takes the date away."),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where it listens; none forgets it."),
    ] = None,
    keepalive: ServerKeepalive = None,
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
        typer.Option(
            metavar="GROUP",
            help="Put it into this group; repeatable.",
            autocompletion=complete.groups,
        ),
    ] = None,
    no_group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GROUP",
            help="Take it out of this group; repeatable.",
            autocompletion=complete.groups,
        ),
    ] = None,
    client: ClientOptions,
    as_json: Json = False,
) -> None:
    """Change peers, all that is named of all of them, or nothing; sessions go on where they can.

    What its own configuration says (--allowed-ips, --exclude, --dns, --mtu) replaces what was said
    before; "default" is what the others of its groups get. `wgbind peer config` prints it anew.
    """
    from wgbind.api.change import PeerRegrouping, PeerUpdate
    from wgbind.errors import InputError
    from wgbind.keys import PresharedKey
    from wgbind.settings.address import parse_address, parse_network, parse_peer_endpoint
    from wgbind.store import PeerChanges

    changes = PeerChanges()
    if name is not None:
        changes["name"] = name
    if description is not None:
        changes["description"] = description
    if notes is not None:
        changes["notes"] = notes
    if expires is not None:
        changes["expires_at"] = None if expires == "never" else moment(expires)
    if endpoint is not None:
        changes["endpoint"] = None if endpoint == "none" else parse_peer_endpoint(endpoint)
    if keepalive is not None:
        changes["persistent_keepalive"] = keepalive
    if address:
        changes["addresses"] = tuple(map(parse_address, address))
    if route:
        changes["routed_networks"] = () if route == ["none"] else tuple(map(parse_network, route))
    if psk is PresharedKeyChange.OFF:
        changes["preshared_key"] = None
    said = client.texts
    reconfigured = bool(address or psk or any(said.values()))
    if not (changes or reconfigured or group or no_group):
        raise InputError("there is nothing to change; give --group, --expires or another")

    opened, which = choice.open()
    if len(which) > 1 and (name or address or route or endpoint):
        raise InputError("a name, address, route or endpoint is one peer's alone; name that one")
    own = dict.fromkeys(which, changes)
    if psk or any(said.values()):  # else nobody has to be looked at first
        own = {each: changes.copy() for each in which}
        for each, old in zip(which, peers_of(opened, which), strict=True):
            if psk is PresharedKeyChange.NEW or (
                psk is PresharedKeyChange.ON and old.preshared_key is None
            ):
                own[each]["preshared_key"] = PresharedKey.generate()
            if any(said.values()):
                own[each]["client"] = old.client.changed(**said)
    asked: list[Change] = []
    for each in which:
        if group or no_group:
            asked.append(PeerRegrouping(each, frozenset(group or ()), frozenset(no_group or ())))
        asked.append(PeerUpdate(each, own[each]))
    peers = _applied(opened, asked, len(which))
    if _printed(peers, choice.names, as_json=as_json):
        return
    for peer in peers:
        if reconfigured:
            typer.echo(f"{peer.name} needs its configuration anew: wgbind peer config {peer.name}")
        elif changes:
            typer.echo(f"{peer.name} is changed.")
        if group or no_group:
            typer.echo(f"{peer.name} is in {', '.join(sorted(peer.groups)) or 'no group'} now.")


@expanded
def disable(
    choice: Choice,
    *,
    as_json: Json = False,
) -> None:
    """Serve peers no more; they keep addresses and groups, their sessions end at once."""
    from wgbind.api.change import PeerUpdate

    opened, which = choice.open()
    peers = _applied(opened, [PeerUpdate(each, {"enabled": False}) for each in which], len(which))
    if not _printed(peers, choice.names, as_json=as_json):
        for peer in peers:
            typer.echo(f"{peer.name} is disabled.")


@expanded
def enable(
    choice: Choice,
    *,
    expires: Expires = None,
    as_json: Json = False,
) -> None:
    """Serve peers again; who has expired needs a new date for that."""
    from wgbind.api.change import PeerEnabling
    from wgbind.store.expiry import utc_text

    until = moment(expires)
    opened, which = choice.open()
    peers = _applied(opened, [PeerEnabling(each, until) for each in which], len(which))
    if not _printed(peers, choice.names, as_json=as_json):
        for peer in peers:
            date = "" if peer.expires_at is None else f" until {utc_text(peer.expires_at)}"
            typer.echo(f"{peer.name} is enabled{date}.")


@expanded
def rotate(
    choice: Choice,
    *,
    public_key: NewKey = None,
    endpoint: EndpointName = None,
    out: Out = None,
    qr: Qr = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give peers new keys, print the new configuration; the old one ends at once.

    The preshared key is new too, if there is one. The private key is shown this once, unless the
    settings say client.store_private_keys. Of several peers, --out takes the configurations.
    """
    from wgbind.api.change import PeerRotation
    from wgbind.errors import InputError
    from wgbind.keys import PublicKey
    from wgbind.server.handout import Handout

    key = None if public_key is None else PublicKey(public_key)
    opened, which = choice.open()
    if len(which) > 1 and key is not None:
        raise InputError("a public key is one peer's alone; name that one")
    if len(which) > 1 and out is None:
        raise InputError(
            f"{len(which)} peers get new keys; give --out DIRECTORY or FILE.zip for them"
        )
    found = _names(opened, which, choice)
    if out is not None and found:
        Handout(out, file_names(opened, found, endpoint))
    if found:
        confirm(
            f"Give {_listed(found)} of {choice.server} new keys, so that what they have ends?",
            yes=yes,
            required=not choice.names,
        )
    peers = _applied(opened, [PeerRotation(each, key) for each in which], len(which))
    if not peers:
        _printed(peers, choice.names, as_json=as_json)
    elif out is not None:
        hand_out(opened, peers, out, endpoint)
        typer.echo(f"{len(peers)} peers have new keys; their configurations are in {out}.")
    else:
        print_configuration(opened, peers[0], endpoint=endpoint, qr=qr, as_json=as_json)


@expanded
def remove(
    choice: Choice,
    *,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove peers, all of them or none; their sessions end at once.

    On a terminal it asks first. A script (no terminal on standard input) is not asked about peers
    that it names; to those that options choose it has to say --yes.
    """
    from wgbind.server.report import stored_peer_report

    opened, which = choice.open()
    if which:
        found = _names(opened, which, choice)
        confirm(
            f"Remove {_listed(found)} from {choice.server}?", yes=yes, required=not choice.names
        )
    removed = opened.peers.remove_many(which) if which else []
    if as_json:
        print_json([stored_peer_report(peer).model_dump(mode="json") for peer in removed])
        return
    _printed(removed, choice.names, as_json=False)
    for peer in removed:
        typer.echo(f"{peer.name} is removed from {choice.server}.")


def _applied(server: Server, changes: Sequence[Change], count: int) -> Sequence[Peer]:
    """Make changes, as many for each of `count` peers, and return these as they are then."""
    from wgbind.errors import WgbindError

    if not changes:
        return []
    each = len(changes) // count
    try:
        return server.peers.apply(changes)[each - 1 :: each]
    except WgbindError as error:
        if count == 1 or error.item is None:
            raise
        refused = changes[error.item]
        which = getattr(refused, "which", "")
        raise type(error)(f"{which}: {error}") from None


def _printed(peers: Sequence[Peer], names: Sequence[str] | None, *, as_json: bool) -> bool:
    """Print JSON, of the one that was named or of all; or that there are none. Say whether so."""
    from wgbind.server.report import stored_peer_report

    if as_json:
        reports = [stored_peer_report(peer).model_dump(mode="json") for peer in peers]
        print_json(reports[0] if names is not None and len(names) == 1 else reports)
    elif not peers:
        remark("No peer is so; nothing is changed.")
    return as_json or not peers


def _names(server: Server, which: Sequence[str], choice: Choice) -> Sequence[str]:
    """Return the names of peers: who was named may have been so by a key."""
    return [peer.name for peer in peers_of(server, which)] if choice.names else which


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
