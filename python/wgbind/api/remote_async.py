"""`RemoteServer` for asyncio: no thread waits, and `await` where that one blocks."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from wgbind.api import call
from wgbind.api.change import (
    NewPeer,
    PeerEnabling,
    PeerRegrouping,
    PeerRemoval,
    PeerRotation,
    PeerUpdate,
    Transaction,
)
from wgbind.api.connection import read
from wgbind.api.event_stream_async import AsyncEventStream
from wgbind.api.http_async import answer_of, async_client, http_errors
from wgbind.api.outcome import StaleError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from wgbind.api.call import Call
    from wgbind.api.change import Change, NewPeerFields
    from wgbind.api.connection import Gate
    from wgbind.api.firewall import FirewallReport
    from wgbind.api.status import PeerReport, ServerInfo, ServerStatus
    from wgbind.apply.document import Document
    from wgbind.apply.report import Applied, ApplyPlan
    from wgbind.keys import PublicKey
    from wgbind.settings.wg_quick import ClientConfiguration
    from wgbind.store.peer import Peer, PeerChanges

_Answer = TypeVar("_Answer")


class AsyncServer:
    """A handle to a running server for asyncio, as `connect_async` gives it.

    `async with` connects, and raises `StateError` if nobody listens. Its methods are those of
    `RemoteServer`.

    Args:
        gate: Where its API is.
        name: The server's interface, as far as it is known before the server says it.
    """

    def __init__(self, gate: Gate, name: str) -> None:
        self.name = name
        self.peers = AsyncPeers(self)
        self._gate = gate
        self._undo = AsyncExitStack()

    async def info(self, endpoint: str | None = None) -> ServerInfo:
        """Ask who answers; `endpoint` is a name in `client.endpoints` of its settings."""
        return await self.call(call.info(endpoint))

    async def status(self) -> ServerStatus:
        """Describe the server and its peers."""
        return await self.call(call.status())

    async def peer_report(self, which: str | PublicKey) -> PeerReport:
        """Describe one peer, by name or public key; raise `NotFoundError`."""
        return await self.call(call.peer_report(self.name, which))

    async def firewall_in_force(self) -> FirewallReport:
        """Describe the rules that the server has applied."""
        return await self.call(call.firewall())

    async def plan(
        self, document: Document | Mapping[str, object] | Path, *, prune: bool = False
    ) -> ApplyPlan:
        """Tell what `apply` would change; raises as it does."""
        from wgbind.apply.document import document_of

        found = document_of(document)
        with found.located():
            return await self.call(call.plan(found, prune=prune))

    async def apply(
        self, document: Document | Mapping[str, object] | Path, *, prune: bool = False
    ) -> Applied:
        """Make the server what a document says, as `Server.apply` does.

        Of the settings it may name policy, pool and client; the rest is for who may write the
        server's files.
        """
        from wgbind.apply.document import document_of

        found = document_of(document)
        with found.located():
            return await self.call(call.apply_document(found, prune=prune))

    async def converge(self) -> tuple[str, ...]:
        """Let it apply what the store says now; return the problems that are left."""
        return await self.call(call.converge())

    async def reload(self) -> tuple[str, ...]:
        """Let it read its settings again and apply them; return the problems that are left."""
        return await self.call(call.reload())

    def events(self) -> AsyncEventStream:
        """Return what happens to its peers: `async for` takes it, from then on.

        `async with` it first to listen at once. It ends when the server stops, and with the
        handle.
        """
        stream = AsyncEventStream(self._gate)
        self._undo.push_async_callback(stream.aclose)
        return stream

    async def call(self, what: Call[_Answer]) -> _Answer:
        """Make a call of the API."""
        with http_errors(self._gate):
            answer = await self._http.request(
                what.method,
                what.path,
                content=what.body,
                headers=what.headers,
                timeout=what.patience,
            )
        return read(self._gate, what, answer_of(answer))

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as undo:
            self._http = await undo.enter_async_context(async_client(self._gate))
            self.name = (await self.info()).name
            self._undo = undo.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._undo.aclose()


class AsyncPeers:
    """The peers of a running server, for asyncio: `Peers` with `await`."""

    def __init__(self, server: AsyncServer) -> None:
        self._server = server

    async def apply(self, changes: Iterable[Change]) -> Sequence[Peer]:
        """Make changes as `Peers.apply` does."""
        return await self._server.call(call.apply(changes))

    async def edit(self, which: str | PublicKey, edit: Callable[[Peer], Peer]) -> Peer:
        """Make of a peer what `edit` makes of it, as `Peers.edit` does."""
        while True:
            old, tag = await self._server.call(call.get(self._server.name, which))
            try:
                return await self._server.call(call.update(self._server.name, tag, old, edit(old)))
            except StaleError:
                which = old.public_key

    async def get(self, which: str | PublicKey, *, private_keys: bool = False) -> Peer:
        """Return a peer, as `Peers.get` does."""
        found = call.get(self._server.name, which, private_keys=private_keys)
        return (await self._server.call(found))[0]

    async def list(
        self,
        *,
        group: str | None = None,
        enabled: bool | None = None,
        private_keys: bool = False,
    ) -> Sequence[Peer]:
        """Return all peers, by name, or some, as `Peers.list` does."""
        found = call.list_peers(group, enabled, private_keys=private_keys)
        return await self._server.call(found)

    async def groups(self) -> Sequence[str]:
        """Return the names of the groups that the settings name."""
        return (await self._server.info()).groups

    async def client_configurations(
        self, peers: Iterable[Peer], *, endpoint: str | None = None
    ) -> Sequence[ClientConfiguration]:
        """Write down what the peers' own ends have to know, as `client_configuration` does."""
        return await self._server.call(call.client_configurations(list(peers), endpoint))

    async def client_configuration(
        self, peer: Peer, *, endpoint: str | None = None
    ) -> ClientConfiguration:
        """Write down what the peer's own end has to know; it holds its secrets."""
        return (await self.client_configurations([peer], endpoint=endpoint))[0]

    async def add(self, name: str, **fields: Unpack[NewPeerFields]) -> Peer:
        """Add a peer, as `Peers.add` does."""
        return (await self.apply([NewPeer(name, **fields)]))[0]

    async def add_many(self, new: Iterable[NewPeer]) -> Sequence[Peer]:
        """Add peers in one transaction, all of them or none."""
        return await self.apply(new)

    async def update(self, which: str | PublicKey, **changes: Unpack[PeerChanges]) -> Peer:
        """Change what is named of a peer; the fields are those of `Peer`."""
        return (await self.apply([PeerUpdate(which, changes)]))[0]

    async def update_many(self, changes: Mapping[str | PublicKey, PeerChanges]) -> Sequence[Peer]:
        """Change what is named of each peer, one after the other, all or nothing."""
        return await self.apply(PeerUpdate(which, fields) for which, fields in changes.items())

    async def regroup(
        self, which: str | PublicKey, *, join: Iterable[str] = (), leave: Iterable[str] = ()
    ) -> Peer:
        """Put a peer into groups, take it out of others, and return it."""
        return (await self.apply([PeerRegrouping(which, frozenset(join), frozenset(leave))]))[0]

    async def disable(self, which: str | PublicKey) -> Peer:
        """Serve a peer no more; its session ends at once, and it keeps all it has."""
        return await self.update(which, enabled=False)

    async def enable(self, which: str | PublicKey, *, expires_at: datetime | None = None) -> Peer:
        """Serve a peer again, until `expires_at` if that is given."""
        return (await self.apply([PeerEnabling(which, expires_at)]))[0]

    async def rotate(self, which: str | PublicKey, *, public_key: PublicKey | None = None) -> Peer:
        """Give a peer new keys, as `Peers.rotate` does."""
        return (await self.apply([PeerRotation(which, public_key)]))[0]

    async def remove(self, which: str | PublicKey) -> Peer:
        """Remove a peer and return what it was."""
        return (await self.apply([PeerRemoval(which)]))[0]

    async def remove_many(self, which: Iterable[str | PublicKey]) -> Sequence[Peer]:
        """Remove peers, all of them or none, and return what they were."""
        return await self.apply(PeerRemoval(each) for each in which)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Collect changes in an `async with` block and make them at its end, all or none."""
        transaction = Transaction()
        yield transaction
        transaction.peers = await self.apply(transaction.changes)
