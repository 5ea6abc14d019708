"""What peers did, as the store remembers it: devices forget it when they end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class History:
    """What a peer did since it was added.

    Attributes:
        rx_bytes: Bytes of UDP payload received from it and authenticated.
        tx_bytes: Bytes of UDP payload sent to it.
        last_seen: UTC, its last completed handshake; None before the first one.
    """

    rx_bytes: int = 0
    tx_bytes: int = 0
    last_seen: datetime | None = None

    def __add__(self, other: History) -> History:
        seen = [each for each in (self.last_seen, other.last_seen) if each is not None]
        return History(
            self.rx_bytes + other.rx_bytes,
            self.tx_bytes + other.tx_bytes,
            max(seen, default=None),
        )


NONE = History()


@dataclass(frozen=True)
class Entry:
    """Of whom a history is: a row's id, and when the peer was added, for ids are used again."""

    row_id: int
    created_at: datetime
