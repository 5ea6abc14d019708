"""Options that choose peers, for lists and for commands that change many."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from wgbind.cli import complete
from wgbind.cli.peer_options import ListedState
from wgbind.precedence import give_way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wgbind.server.selection import Selection
    from wgbind.server.server import Server
    from wgbind.store.peer import Peer

Names: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="Names or public keys of peers; without them, the options choose.",
        autocompletion=complete.peers,
        show_default=False,
    ),
]
Match: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="PATTERN", help="Whose name matches, as in a shell: 'phone-*'."),
]
InGroup: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--in-group", metavar="GROUP", help="Who is in the group.", autocompletion=complete.groups
    ),
]
States: TypeAlias = Annotated[
    list[ListedState] | None,
    typer.Option(help="Who is in this state; repeatable.", show_default=False),
]
SilentSince: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help="Who had no handshake since then: 30d is that long ago, or a day or time.",
    ),
]
ExpiresBefore: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN", help="Whose date is before then: 30d is that far ahead, or a day or time."
    ),
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def selection(
    match: str | None,
    group: str | None,
    states: Sequence[ListedState] | None,
    silent_since: str | None,
    expires_before: str | None,
) -> Selection:
    """Read what the options say; raise `InputError`."""
    from datetime import datetime, timezone

    from wgbind.server.selection import Selection
    from wgbind.store.expiry import parse_expiry, parse_past

    now = datetime.now(timezone.utc)
    return Selection(
        pattern=match,
        group=group,
        states=frozenset(state.value for state in states or ()),
        silent_since=None if silent_since is None else parse_past(silent_since, now),
        expires_before=None if expires_before is None else parse_expiry(expires_before, now),
    )


def chosen(server: Server, names: Sequence[str] | None, selection: Selection) -> list[str]:
    """Return the names or keys given, or the names of the peers that the options choose.

    Raises `InputError` if both are given, or none.
    """
    from wgbind.errors import InputError

    if names and selection:
        raise InputError("give names or options that choose peers, such as --in-group, not both")
    if names:
        return list(names)
    if not selection:
        raise InputError("name a peer, or choose by --match, --in-group, --state or the like")
    give_way()
    found = selection.of(server.status().peers)
    return [peer.name for peer in found if peer.name is not None]


def peers_of(server: Server, which: Sequence[str], *, private_keys: bool = False) -> Sequence[Peer]:
    """Return peers by their names or keys, as `Peers.get` does."""
    get = partial(server.peers.get, private_keys=private_keys)
    if len(which) <= 1:
        return [get(each) for each in which]
    found = server.peers.list(private_keys=private_keys)
    known = {key: peer for peer in found for key in (peer.name, str(peer.public_key))}
    # Another form of a key is the store's to read, and what is missing its to say.
    return [known[each] if each in known else get(each) for each in which]
