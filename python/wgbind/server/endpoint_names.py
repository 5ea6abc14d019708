"""Endpoints of peers that are host names: looked up beside the work, and again when nobody answers.

A name stands for another address when a site has a new one (dynamic DNS), and for none while the
name server is away. Neither holds up packets or other changes: each lookup has a thread of its own.
A peer that answers is where its messages come from (the paper, section 2.1), whatever its name
says; its name is asked again once an initiation of ours is not answered in time.
"""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from math import inf
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol

from wgbind._native import PeerChange
from wgbind.errors import WgbindError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from wgbind._native import Device
    from wgbind.keys import PublicKey

    Address = tuple[str, int]

_log = logging.getLogger(__name__)

# An initiation is repeated after this time (the paper, section 6.1: Rekey-Timeout): then one was
# lost, or nobody is there.
_REKEY_TIMEOUT = 5.0
# How often the device is asked whether initiations are answered.
_LOOK_SECONDS = 2.0
# When a name is asked again that has not helped, or could not be resolved.
_RETRY_SECONDS = (5.0, 10.0, 20.0, 40.0, 60.0)
# How long whoever asks for a peer with a name waits, so as to be told if there is no such name.
_PATIENCE_SECONDS = 0.5


class Name(NamedTuple):
    """A peer's endpoint by name: the peer's name, and the host's, and the UDP port."""

    peer: str
    host: str
    port: int


class Seen(Protocol):
    """What is looked at of a peer that the device has: `PeerStatus` is one."""

    @property
    def public_key(self) -> PublicKey:
        """Who it is."""

    @property
    def endpoint(self) -> Address | None:
        """Where it is, or should be."""

    @property
    def initiating_since(self) -> float | None:
        """Since when our initiations are not answered."""


@dataclass
class _State:
    name: Name
    resolve_at: float
    """Moment of the next lookup."""
    resolving: bool = False
    initiating_since: float | None = None
    """What the device said of it."""
    unanswered_at: float | None = None
    """Since when, by our clock, initiations are not answered, or will again be worth a lookup."""
    lookups: int = 0
    """How many did not help, or failed, one after the other."""
    problem: str | None = None
    endpoint: Address | None = None
    """Where the device said the peer is."""
    fresh: bool = True
    """Whether it has had no address yet."""


@dataclass
class EndpointNames:
    """When which name is looked up, and what comes of it; neither clock nor resolver of its own."""

    _states: dict[PublicKey, _State] = field(default_factory=dict)

    def want(
        self, names: Mapping[PublicKey, Name], renewed: Collection[PublicKey], now: float
    ) -> None:
        """Take the names that there are; those that are new or `renewed` are due at once."""
        kept = {
            key: state
            for key, state in self._states.items()
            if key not in renewed and names.get(key) == state.name
        }
        self._states = {key: kept.get(key) or _State(name, now) for key, name in names.items()}

    def due(self, now: float) -> list[tuple[PublicKey, Name]]:
        """Return the names to look up now, each of which `resolved` is to be told about."""
        due = [
            (key, state.name)
            for key, state in self._states.items()
            if not state.resolving and state.resolve_at <= now
        ]
        for key, _ in due:
            self._states[key].resolving = True
        return due

    def resolved(
        self, key: PublicKey, name: Name, found: Sequence[Address] | str, now: float
    ) -> Address | None:
        """Take the addresses of a name, or why there are none; return the endpoint to set, if any.

        Of several addresses each that is not answered gives way to the next.
        """
        state = self._states.get(key)
        if state is None or state.name != name:
            return None  # nobody wants it any more
        state.resolving = False
        retry = now + _RETRY_SECONDS[min(state.lookups, len(_RETRY_SECONDS) - 1)]
        if isinstance(found, str):
            state.lookups += 1
            state.resolve_at = retry
            if state.unanswered_at is not None:
                state.unanswered_at = retry - _REKEY_TIMEOUT
            state.problem = f"peer {name.peer}: endpoint {name.host!r} cannot be resolved: {found}"
            return None
        state.problem = None
        # It is asked again only if the peer is not answered by then.
        state.resolve_at = inf
        if state.fresh:
            state.fresh, state.lookups = False, 0
            return found[0]
        if state.unanswered_at is None:
            return None
        state.lookups += 1
        state.unanswered_at = retry - _REKEY_TIMEOUT
        at = found.index(state.endpoint) + 1 if state.endpoint in found else 0
        chosen = found[at % len(found)]
        return None if chosen == state.endpoint else chosen

    def look(self, peers: Iterable[Seen], now: float) -> None:
        """Look whether the peers answer; the names of those that do not become due."""
        for peer in peers:
            state = self._states.get(peer.public_key)
            if state is None:
                continue
            state.endpoint = peer.endpoint
            before, state.initiating_since = state.initiating_since, peer.initiating_since
            if state.fresh:
                continue
            if peer.initiating_since is None:
                state.unanswered_at, state.lookups = None, 0
            elif state.unanswered_at is None or peer.initiating_since != before:
                state.unanswered_at = now
            elif now - state.unanswered_at >= _REKEY_TIMEOUT:
                state.resolve_at = min(state.resolve_at, now)

    def problems(self) -> list[str]:
        """Return what could not be resolved when it was tried last."""
        return [state.problem for state in self._states.values() if state.problem is not None]

    def pending(self) -> bool:
        """Return whether a name was never looked up to the end."""
        return any(state.fresh and state.lookups == 0 for state in self._states.values())

    def next_due(self) -> float:
        """Return when a lookup is due next; infinity if none is."""
        waiting = (state.resolve_at for state in self._states.values() if not state.resolving)
        return min(waiting, default=inf)

    def keys(self) -> list[PublicKey]:
        """Return the peers whose endpoint is a name."""
        return list(self._states)


def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host, the best first (RFC 6724). Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    return list(dict.fromkeys((str(address[0]), port) for *_, address in found))


def is_name(host: str) -> bool:
    """Tell a host name from an address."""
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


class EndpointResolver:
    """Gives the peers of a device the addresses of their names, from a thread of its own.

    Args:
        device: The device.
        resolver: Looks one name up; it may take its time.
    """

    def __init__(
        self, device: Device, resolver: Callable[[str, int], list[Address]] = resolve
    ) -> None:
        self._device = device
        self._resolver = resolver
        self._names = EndpointNames()
        self._lock = Lock()
        self._news: SimpleQueue[tuple[PublicKey, Name, list[Address] | str] | None] = SimpleQueue()
        self._settled = Event()
        self._closed = False
        self._thread: Thread | None = None

    def want(self, names: Mapping[PublicKey, Name], renewed: Collection[PublicKey] = ()) -> None:
        """Resolve these names from now on; the endpoint of a `renewed` peer is set again.

        Returns after a moment, by which most names have an address, or are among the problems.
        """
        with self._lock:
            self._names.want(names, renewed, monotonic())
            if not self._names.pending():
                return
            self._settled.clear()
        if self._thread is None:
            self._thread = Thread(target=self._work, name="wgbind-names", daemon=True)
            self._thread.start()
        self._news.put(None)
        self._settled.wait(_PATIENCE_SECONDS)

    def problems(self) -> list[str]:
        """Return what could not be resolved when it was tried last."""
        with self._lock:
            return self._names.problems()

    def close(self) -> None:
        """End the thread, without waiting for a lookup that is under way."""
        self._closed = True
        self._news.put(None)

    def _work(self) -> None:
        next_look = monotonic()
        while not self._closed:
            now = monotonic()
            with self._lock:
                named = bool(self._names.keys())
            if named and now >= next_look:
                next_look = now + _LOOK_SECONDS
                try:
                    self._look()
                except WgbindError:
                    return  # the device has ended, which others tell
            self._take_news(self._patience(next_look if named else inf))
            with self._lock:
                due = self._names.due(monotonic())
            for key, name in due:
                # A lookup may hang for long, and is not to hold up others, nor the end.
                arguments = (key, name)
                Thread(
                    target=self._resolve, args=arguments, name="wgbind-name", daemon=True
                ).start()

    def _patience(self, next_look: float) -> float | None:
        with self._lock:
            due = min(self._names.next_due(), next_look)
        return None if due == inf else max(0.0, due - monotonic())

    def _look(self) -> None:
        with self._lock:
            keys = self._names.keys()
        peers = self._device.status(keys).peers
        with self._lock:
            self._names.look(peers, monotonic())

    def _take_news(self, timeout: float | None) -> None:
        try:
            news = self._news.get(timeout=timeout)
        except Empty:
            return
        if news is None:
            return
        key, name, found = news
        with self._lock:
            known = self._names.problems()
            endpoint = self._names.resolved(key, name, found, monotonic())
            problems = self._names.problems()
        for problem in problems:
            if problem not in known:
                _log.warning("%s", problem)
        if endpoint is not None:
            self._give(key, name, endpoint)
        with self._lock:
            if not self._names.pending():
                self._settled.set()

    def _give(self, key: PublicKey, name: Name, endpoint: Address) -> None:
        try:
            self._device.set(peers=[PeerChange(key, update_only=True, endpoint=endpoint)])
        except WgbindError as error:
            _log.warning("peer %s: endpoint %s: %s", name.peer, endpoint[0], error)
        else:
            _log.info("peer %s: endpoint %s is at %s", name.peer, name.host, endpoint[0])

    def _resolve(self, key: PublicKey, name: Name) -> None:
        found: list[Address] | str
        try:
            found = self._resolver(name.host, name.port) or "it has no address"
        except (OSError, UnicodeError) as error:
            found = getattr(error, "strerror", None) or str(error)
        self._news.put((key, name, found))
