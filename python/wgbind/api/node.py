"""What the API needs of the server that it answers for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wgbind.api.broadcast import Broadcast
    from wgbind.api.firewall import FirewallReport
    from wgbind.api.peers import Peers
    from wgbind.api.status import ServerInfo, ServerStatus
    from wgbind.apply.document import Document
    from wgbind.apply.report import Applied, ApplyPlan


class Node(Protocol):
    """A running server; each call may come from any thread, and several at once."""

    @property
    def events(self) -> Broadcast:
        """What happens to its peers."""

    @property
    def peers(self) -> Peers:
        """Its peers."""

    @property
    def problems(self) -> Sequence[str]:
        """What the host refused so far; it is tried again."""

    def info(self, endpoint: str | None = None) -> ServerInfo:
        """Say who it is; `endpoint` is a name in `client.endpoints`, or raises `InputError`."""

    def status(self) -> ServerStatus:
        """Read its state."""

    def firewall(self) -> FirewallReport:
        """Read the rules in force."""

    def plan(self, document: Document, *, prune: bool = False) -> ApplyPlan:
        """Tell what `apply` would change; raises as it does."""

    def apply(self, document: Document, *, prune: bool = False) -> Applied:
        """Make it what a document says, all or nothing. Raises `WgbindError`."""

    def converge(self) -> tuple[str, ...]:
        """Bring the host to what the store says; return the problems that are left."""

    def reload(self) -> tuple[str, ...]:
        """Read the settings again, then converge. Raises `WgbindError`; nothing changed then."""
