"""From one teller of events to many readers, none of whom can hold up the others."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wgbind.api.event import PeerEvent

# As many as the device keeps: a change of ten thousand peers at once fits.
MAX_WAITING = 1 << 14


class Subscription:
    """Events that wait for one reader. Of too many the oldest are lost; the next one tells.

    Args:
        wake: Called, from any thread, when there is something to take or when it has ended.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.ended = False
        self._wake = wake
        self._lock = Lock()
        self._waiting: deque[PeerEvent] = deque()
        self._lost = 0

    def take(self) -> list[PeerEvent]:
        """Take what waits, oldest first."""
        with self._lock:
            taken = list(self._waiting)
            lost, self._lost = self._lost, 0
            self._waiting.clear()
        if lost:
            taken[0] = taken[0].model_copy(update={"lost": lost + taken[0].lost})
        return taken

    def put(self, events: Sequence[PeerEvent]) -> None:
        """Let these wait, too."""
        with self._lock:
            self._waiting.extend(events)
            while len(self._waiting) > MAX_WAITING:
                self._lost += 1 + self._waiting.popleft().lost
        self._wake()

    def end(self) -> None:
        """Nothing more comes."""
        self.ended = True
        self._wake()


class Broadcast:
    """Tells every subscription of every event, until it is closed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    @contextmanager
    def subscribe(self, wake: Callable[[], None]) -> Iterator[Subscription]:
        """Take part from now on until the end of the block; `wake` as for `Subscription`."""
        subscription = Subscription(wake)
        with self._lock:
            subscription.ended = self._closed
            self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            with self._lock:
                self._subscriptions.remove(subscription)

    def publish(self, events: Sequence[PeerEvent]) -> None:
        """Tell of these."""
        for subscription in self.subscriptions():
            subscription.put(events)

    def close(self) -> None:
        """End all subscriptions, later ones too."""
        with self._lock:
            self._closed = True
        for subscription in self.subscriptions():
            subscription.end()

    def subscriptions(self) -> list[Subscription]:
        """Return those that take part now."""
        with self._lock:
            return list(self._subscriptions)
