"""The peers of a server, by the shortest way to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from wgbind.api.peers import Peers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Protocol

    from wgbind.api.change import Change
    from wgbind.keys import PublicKey
    from wgbind.settings.wg_quick import ClientConfiguration
    from wgbind.store.peer import Peer

    class Owner(Protocol):
        """Whose peers they are."""

        def with_peers(self, call: Callable[[Peers], _Answer]) -> _Answer:
            """Call with its peers, wherever they are at this moment."""


_Answer = TypeVar("_Answer")


class ServerPeers(Peers):
    """Asks a running server for its peers, and the store if the server is stopped."""

    def __init__(self, server: Owner) -> None:
        self._server = server

    def apply(self, changes: Iterable[Change]) -> Sequence[Peer]:
        """As `Peers` says; all of `changes` is asked for first."""
        asked = list(changes)
        return self._server.with_peers(lambda peers: peers.apply(asked))

    def edit(self, which: str | PublicKey, edit: Callable[[Peer], Peer]) -> Peer:
        """As `Peers` says."""
        return self._server.with_peers(lambda peers: peers.edit(which, edit))

    def get(self, which: str | PublicKey, *, private_keys: bool = False) -> Peer:
        """As `Peers` says."""
        return self._server.with_peers(lambda peers: peers.get(which, private_keys=private_keys))

    def list(
        self,
        *,
        group: str | None = None,
        enabled: bool | None = None,
        private_keys: bool = False,
    ) -> Sequence[Peer]:
        """As `Peers` says."""
        return self._server.with_peers(
            lambda peers: peers.list(group=group, enabled=enabled, private_keys=private_keys)
        )

    def groups(self) -> Sequence[str]:
        """As `Peers` says."""
        return self._server.with_peers(lambda peers: peers.groups())

    def client_configurations(
        self, peers: Iterable[Peer], *, endpoint: str | None = None
    ) -> Sequence[ClientConfiguration]:
        """As `Peers` says."""
        asked = list(peers)
        return self._server.with_peers(
            lambda found: found.client_configurations(asked, endpoint=endpoint)
        )
