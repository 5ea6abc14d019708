"""What device and server tell of peers: named, logged, and passed on to all who listen."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime, timezone
from threading import Lock, Thread
from typing import TYPE_CHECKING

from wgbind.api.event import PeerEvent
from wgbind.errors import DeviceError
from wgbind.settings.address import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from wgbind._native import Device, Event
    from wgbind.api.broadcast import Broadcast
    from wgbind.keys import PublicKey
    from wgbind.server.limits import Limit
    from wgbind.store.peer import Peer

_log = logging.getLogger(__name__)

# Changes of the configuration have log lines of their own, and nobody reads of each new key.
_LOGGED = {"connected", "roamed", "silent"}


def expired(peer: Peer) -> PeerEvent:
    """Tell that a peer's date has come."""
    return PeerEvent(
        at=datetime.now(timezone.utc),
        kind="expired",
        cause="date",
        name=peer.name,
        public_key=peer.public_key,
    )


def limit_reached(limit: Limit, detail: str) -> PeerEvent:
    """Tell that there is no more of something."""
    return PeerEvent(
        at=datetime.now(timezone.utc),
        kind="limit",
        cause=limit,
        name=None,
        public_key=None,
        detail=detail,
    )


class EventReader:
    """The thread that reads a device's events until the device ends.

    Args:
        device: The only reader of its events is this.
        broadcast: Where they go.
        name_of: Gives a peer's name, or None; called from that thread.
    """

    def __init__(
        self, device: Device, broadcast: Broadcast, name_of: Callable[[PublicKey], str | None]
    ) -> None:
        self._device = device
        self._broadcast = broadcast
        self._name_of = name_of
        self._telling = Lock()
        self._announced: dict[PublicKey | None, PeerEvent] = {}
        self._thread = Thread(target=self._read, name="wgbind-events", daemon=True)

    def start(self) -> None:
        """Read what happens from now on."""
        self._device.events(0)
        self._thread.start()

    def join(self) -> None:
        """Wait for its end; the device is closed before."""
        if self._thread.ident is not None:
            self._thread.join()

    def announce(self, events: Iterable[PeerEvent]) -> None:
        """Keep these, each why the device will remove a peer, until it is so.

        Each is told right before that removal, or by `tell_announced`, whichever comes first.
        """
        with self._telling:
            self._announced |= {event.public_key: event for event in events}

    def tell_announced(self) -> None:
        """Tell what was announced: it is done, and the device may have had nothing to do for it."""
        with self._telling:
            self._broadcast.publish([*self._announced.values()])
            self._announced.clear()

    def _read(self) -> None:
        # Why the device ended is the watch's business.
        with suppress(DeviceError):
            while True:
                events = [self._named(event) for event in self._device.events()]
                with self._telling:
                    self._broadcast.publish([*self._with_announced(events)])
                for event in events:
                    if event.lost:
                        _log.warning("%d events were lost", event.lost)
                    if event.kind in _LOGGED:
                        _log.info("%s", event)

    def _with_announced(self, events: Iterable[PeerEvent]) -> Iterator[PeerEvent]:
        for event in events:
            if event.kind == "removed" and event.public_key in self._announced:
                yield self._announced.pop(event.public_key)
            yield event

    def _named(self, event: Event) -> PeerEvent:
        return PeerEvent(
            at=datetime.fromtimestamp(event.at, timezone.utc),
            kind=event.kind,
            cause=event.cause,
            name=self._name_of(event.public_key),
            public_key=event.public_key,
            endpoint=_text(event.endpoint),
            previous_endpoint=_text(event.previous_endpoint),
            lost=event.lost,
        )


def _text(endpoint: tuple[str, int] | None) -> str | None:
    return None if endpoint is None else str(Endpoint(*endpoint))
