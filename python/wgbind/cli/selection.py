"""Options that choose peers, for lists and for commands that change many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from wgbind.cli import complete
from wgbind.cli.library import open_server
from wgbind.cli.options import Options
from wgbind.cli.output import ServerName  # noqa: TC001 (Typer reads it)
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


@dataclass(frozen=True)
class Choice(Options):
    """Which peers of a server a command is about: those named, or whom all options choose."""

    names: Names = None
    server: ServerName = "wg0"
    match: Match = None
    in_group: InGroup = None
    state: States = None
    silent_since: SilentSince = None
    expires_before: ExpiresBefore = None

    @property
    def selection(self) -> Selection:
        """What the options say; raises `InputError`."""
        return selection(
            self.match, self.in_group, self.state, self.silent_since, self.expires_before
        )

    def open(self) -> tuple[Server, list[str]]:
        """Return the server, and the names or keys given or the names of who is chosen.

        Raises `InputError` if both are given, or none.
        """
        from wgbind.errors import InputError

        server, selection = open_server(self.server), self.selection
        if self.names and selection:
            raise InputError("give names or options that choose peers, as --in-group, not both")
        if self.names:
            return server, list(self.names)
        if not selection:
            raise InputError("name a peer, or choose by --match, --in-group, --state or the like")
        give_way()
        found = selection.of(server.status().peers)
        return server, [peer.name for peer in found if peer.name is not None]


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


def peers_of(server: Server, which: Sequence[str], *, private_keys: bool = False) -> Sequence[Peer]:
    """Return peers by their names or keys, as `Peers.get` does."""
    get = partial(server.peers.get, private_keys=private_keys)
    if len(which) <= 1:
        return [get(each) for each in which]
    found = server.peers.list(private_keys=private_keys)
    known = {key: peer for peer in found for key in (peer.name, str(peer.public_key))}
    # Another form of a key is the store's to read, and what is missing its to say.
    return [known[each] if each in known else get(each) for each in which]
