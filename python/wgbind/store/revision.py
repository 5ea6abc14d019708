"""Many changes of the peers of one server, which who makes them has looked through together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wgbind.store.peer import Peer


class Revision(Protocol):
    """What becomes of the peers of a server; all of them are told apart by their public keys."""

    @property
    def added(self) -> Sequence[Peer]:
        """New ones."""

    @property
    def changed(self) -> Sequence[Peer]:
        """Those that are other than before."""

    @property
    def removed(self) -> Sequence[Peer]:
        """Those that are gone."""
