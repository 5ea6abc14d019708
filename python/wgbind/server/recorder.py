"""From a device's counters, which begin with each of its peers, to histories that go on."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from wgbind.errors import DeviceError, StoreError
from wgbind.store.history import NONE, History

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from wgbind._native import Device, DeviceStatus, PeerStatus
    from wgbind.keys import PublicKey
    from wgbind.server.roster import Roster
    from wgbind.store.history import Entry
    from wgbind.store.store import Store

_log = logging.getLogger(__name__)

# What peers did is written so often: what a server that is killed forgets is younger.
_INTERVAL_SECONDS = 30.0
# In one transaction; others may write between two.
_TRANSACTION_PEERS = 1000


class Recorder:
    """Adds up what peers do, and writes it into the store; may be used from any thread.

    Args:
        device: A device; nobody else removes peers from it but within `leaving`.
        store: Where histories are.
        roster: Who has which key.
    """

    def __init__(self, device: Device, store: Store, server: str, roster: Roster) -> None:
        self._device = device
        self._store = store
        self._server = server
        self._roster = roster
        self._lock = Lock()
        # What of the device's counters is counted, and the handshake that was the last one then.
        self._counted: dict[PublicKey, tuple[int, int, float]] = {}
        self._news: dict[Entry, History] = {}  # counted, and not written yet
        self._due = monotonic() + _INTERVAL_SECONDS

    @contextmanager
    def leaving(self, keys: Collection[PublicKey]) -> Iterator[None]:
        """Count all that these peers did; the block removes them from the device."""
        if not keys:
            yield
            return
        with self._lock:
            self._count(self._device.status(list(keys)).peers)
            yield
            for key in keys:
                self._counted.pop(key, None)

    def read(self) -> tuple[DeviceStatus, Mapping[Entry, History]]:
        """Return the state of the device, and the histories of peers up to then.

        Raises `StoreError`, `DeviceError`.
        """
        with self._lock:
            status = self._device.status()
            self._count(status.peers)
            histories = self._store.histories(self._server)
            for entry, history in self._news.items():
                if entry in histories:
                    histories[entry] += history
        return status, histories

    def record_if_due(self) -> None:
        """Write what is new, if the last time was a while ago; what fails is tried again."""
        if monotonic() >= self._due:
            self.record()

    def record(self) -> None:
        """Write what is new, and log it if that fails."""
        with self._lock:
            self._due = monotonic() + _INTERVAL_SECONDS
            with suppress(DeviceError):  # it has ended, and nobody knows more
                self._count(self._device.status().peers)
            try:
                self._write()
            except StoreError as error:
                _log.warning("what peers transferred is not written yet: %s", error)

    def _count(self, peers: Iterable[PeerStatus]) -> None:
        for status in peers:
            key = status.public_key
            now = (status.rx_bytes, status.tx_bytes, status.last_handshake or 0.0)
            before = self._counted.get(key, (0, 0, 0.0))
            if now == before:
                continue
            entry = self._roster.entry_of(key)
            if entry is None:
                continue
            if now[0] < before[0] or now[1] < before[1]:
                before = (0, 0, 0.0)  # somebody removed it and added it again
            seen = None
            if status.last_handshake is not None:
                seen = datetime.fromtimestamp(status.last_handshake, timezone.utc)
            self._counted[key] = now
            news = History(now[0] - before[0], now[1] - before[1], seen)
            self._news[entry] = self._news.get(entry, NONE) + news

    def _write(self) -> None:
        while self._news:
            part = list(self._news.items())[:_TRANSACTION_PEERS]
            self._store.record(part)
            for entry, _ in part:
                del self._news[entry]
