"""Which of a server's peers are meant: by name, group, state and time; pure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from wgbind.api.status import PeerReport, PeerState


@dataclass(frozen=True)
class Selection:
    """Conditions on peers, all of which must hold; one that is not given holds for every peer.

    Attributes:
        pattern: What the name matches, as in a shell: `*`, `?` and `[...]`.
        group: A group that it is in.
        states: One of these is its state.
        silent_since: It was not heard since that moment, and was made before.
        expires_before: It has a date, which comes before that moment or is past.
    """

    pattern: str | None = None
    group: str | None = None
    states: frozenset[PeerState] = frozenset()
    silent_since: datetime | None = None
    expires_before: datetime | None = None

    def __bool__(self) -> bool:
        return self != Selection()

    def of(self, peers: Iterable[PeerReport]) -> list[PeerReport]:
        """Return those that are meant, in their order."""
        return [peer for peer in peers if self._holds(peer)]

    def _holds(self, peer: PeerReport) -> bool:
        return (
            (self.pattern is None or fnmatchcase(peer.name or "", self.pattern))
            and (self.group is None or self.group in peer.groups)
            and (not self.states or peer.state in self.states)
            and (self.silent_since is None or self._silent(peer, self.silent_since))
            and (
                self.expires_before is None
                or (peer.expires_at is not None and peer.expires_at < self.expires_before)
            )
        )

    @staticmethod
    def _silent(peer: PeerReport, since: datetime) -> bool:
        # Who was made a minute ago and has not come yet is not silent for long.
        heard = (peer.last_handshake, peer.last_seen, peer.created_at)
        return all(at is None or at < since for at in heard)
