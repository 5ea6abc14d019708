"""Which peers are served now, by the clock of this host."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from math import inf
from typing import TYPE_CHECKING

from wgbind.store.expiry import utc_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wgbind.store.peer import Peer

_log = logging.getLogger(__name__)


class Expiry:
    """Leaves out who is disabled or expired, says who expired, and knows who is next.

    It goes by the wall clock at every look, so a clock that is set counts at once: forward, peers
    expire; back, those whose date is ahead again are served again.
    """

    def __init__(self) -> None:
        self._expired: frozenset[str] = frozenset()
        self._untold: list[Peer] = []
        self._next: datetime | None = None

    def served(self, peers: Iterable[Peer]) -> list[Peer]:
        """Return the peers that are served at this moment; note who expired since the last look."""
        now = datetime.now(timezone.utc)
        enabled = [peer for peer in peers if peer.enabled]
        expired = {peer.name: peer for peer in enabled if peer.expired(now)}
        self._untold += [peer for name, peer in expired.items() if name not in self._expired]
        self._expired = frozenset(expired)
        served = [peer for peer in enabled if peer.name not in expired]
        self._next = min(
            (peer.expires_at for peer in served if peer.expires_at is not None), default=None
        )
        return served

    def take_expired(self) -> list[Peer]:
        """Return who expired since the last call, and log it."""
        told, self._untold = self._untold, []
        for peer in told:
            if peer.expires_at is not None:
                moment = utc_text(peer.expires_at)
                _log.info("peer %s: expired at %s, disabled", peer.name, moment)
        return told

    def seconds_left(self) -> float:
        """Return how long everybody who is served still is; infinity if no date is set."""
        if self._next is None:
            return inf
        return (self._next - datetime.now(timezone.utc)).total_seconds()
