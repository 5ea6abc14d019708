"""What `wgbind.Server` and the handles of `wgbind.connect` have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wgbind.api.event_stream import EventStream
    from wgbind.api.firewall import FirewallReport
    from wgbind.api.peers import Peers
    from wgbind.api.status import PeerReport, ServerStatus
    from wgbind.apply.document import Document
    from wgbind.apply.report import Applied, ApplyPlan
    from wgbind.keys import PublicKey


class ServerHandle(Protocol):
    """A server and its peers, in whatever process or on whatever host it runs."""

    @property
    def name(self) -> str:
        """Its interface."""

    @property
    def peers(self) -> Peers:
        """Who may connect."""

    def status(self) -> ServerStatus:
        """Describe the server and its peers."""

    def peer_report(self, which: str | PublicKey) -> PeerReport:
        """Describe one peer, by name or public key; raise `NotFoundError`."""

    def firewall_in_force(self) -> FirewallReport | None:
        """Describe the rules that the running server has applied; None if it is stopped."""

    def events(self) -> EventStream:
        """Iterate over what happens to peers from now on, until the server stops.

        Raises `StateError` if it does not run, and while iterating if it is killed.
        """

    def plan(
        self, document: Document | Mapping[str, object] | Path, *, prune: bool = False
    ) -> ApplyPlan:
        """Tell what `apply` would change; raises as it does."""

    def apply(
        self, document: Document | Mapping[str, object] | Path, *, prune: bool = False
    ) -> Applied:
        """Make the server what a document says: all of it or nothing; see `Server.apply`.

        A handle of `connect` takes of the settings the sections policy, pool and client.
        """

    def converge(self) -> tuple[str, ...]:
        """Let the server, if it runs, apply what the store says now.

        It does so by itself within a second. Returns what could not be applied.
        """

    def reload(self) -> tuple[str, ...]:
        """Let the running server read its settings again; return what could not be applied.

        Raises `StateError` if it does not run, `SettingsError` for a mistake in the settings; it
        goes on with the old ones then.
        """
