"""A server that another process runs, by its API."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from wgbind.api import call
from wgbind.api.connection import read
from wgbind.api.event_stream import EventStream
from wgbind.api.http_client import HttpClient
from wgbind.api.outcome import StaleError
from wgbind.api.peers import Peers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from wgbind.api.call import Call
    from wgbind.api.change import Change
    from wgbind.api.connection import Gate
    from wgbind.api.firewall import FirewallReport
    from wgbind.api.status import PeerReport, ServerInfo, ServerStatus
    from wgbind.apply.document import Document
    from wgbind.apply.report import Applied, ApplyPlan
    from wgbind.keys import PublicKey
    from wgbind.settings.wg_quick import ClientConfiguration
    from wgbind.store.peer import Peer

_Answer = TypeVar("_Answer")


class RemoteServer:
    """A handle to a running server, as `connect` gives it; close it, or use it in `with`.

    Its methods are those of `Server` and may be called from any thread. Each raises what the server
    raised, and `StateError` if the server does not answer: if it stopped during a change, whether
    the change was made is not known.

    Args:
        gate: Where its API is.
        name: The server's interface.
    """

    def __init__(self, gate: Gate, name: str) -> None:
        self.name = name
        self.peers: Peers = RemotePeers(self)
        self._gate = gate
        self._http = HttpClient(gate)

    def info(self, endpoint: str | None = None) -> ServerInfo:
        """Ask who answers; `endpoint` is a name in `client.endpoints` of its settings."""
        return self.call(call.info(endpoint))

    def status(self) -> ServerStatus:
        """Describe the server and its peers."""
        return self.call(call.status())

    def peer_report(self, which: str | PublicKey) -> PeerReport:
        """Describe one peer, by name or public key; raise `NotFoundError`."""
        return self.call(call.peer_report(self.name, which))

    def firewall_in_force(self) -> FirewallReport:
        """Describe the rules that the server has applied."""
        return self.call(call.firewall())

    def plan(
        self, document: Document | Mapping[str, object] | Path, *, prune: bool = False
    ) -> ApplyPlan:
        """Tell what `apply` would change; raises as it does."""
        from wgbind.apply.document import document_of

        found = document_of(document)
        with found.located():
            return self.call(call.plan(found, prune=prune))

    def apply(
        self, document: Document | Mapping[str, object] | Path, *, prune: bool = False
    ) -> Applied:
        """Make the server what a document says, as `Server.apply` does.

        Of the settings it may name policy, pool and client; the rest is for who may write the
        server's files.
        """
        from wgbind.apply.document import document_of

        found = document_of(document)
        with found.located():
            return self.call(call.apply_document(found, prune=prune))

    def converge(self) -> tuple[str, ...]:
        """Let it apply what the store says now; return the problems that are left."""
        return self.call(call.converge())

    def reload(self) -> tuple[str, ...]:
        """Let it read its settings again and apply them; return the problems that are left."""
        return self.call(call.reload())

    def events(self) -> EventStream:
        """Iterate over what happens to its peers from now on, on a connection of its own."""
        return EventStream(self._gate)

    def call(self, what: Call[_Answer]) -> _Answer:
        """Make a call of the API."""
        return read(self._gate, what, self._http.request(what))

    def close(self) -> None:
        """Hang up. The server goes on."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class RemotePeers(Peers):
    """The peers of a server that another process runs."""

    def __init__(self, server: RemoteServer) -> None:
        self._server = server

    def apply(self, changes: Iterable[Change]) -> Sequence[Peer]:
        """As `Peers` says; all of `changes` is asked for first."""
        return self._server.call(call.apply(changes))

    def edit(self, which: str | PublicKey, edit: Callable[[Peer], Peer]) -> Peer:
        """As `Peers` says."""
        while True:
            old, tag = self._server.call(call.get(self._server.name, which))
            try:
                return self._server.call(call.update(self._server.name, tag, old, edit(old)))
            except StaleError:
                which = old.public_key

    def get(self, which: str | PublicKey, *, private_keys: bool = False) -> Peer:
        """As `Peers` says."""
        found = call.get(self._server.name, which, private_keys=private_keys)
        return self._server.call(found)[0]

    def list(
        self,
        *,
        group: str | None = None,
        enabled: bool | None = None,
        private_keys: bool = False,
    ) -> Sequence[Peer]:
        """As `Peers` says."""
        return self._server.call(call.list_peers(group, enabled, private_keys=private_keys))

    def groups(self) -> Sequence[str]:
        """As `Peers` says."""
        return self._server.info().groups

    def client_configurations(
        self, peers: Iterable[Peer], *, endpoint: str | None = None
    ) -> Sequence[ClientConfiguration]:
        """As `Peers` says."""
        return self._server.call(call.client_configurations(list(peers), endpoint))
