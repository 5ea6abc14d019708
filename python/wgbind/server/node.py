"""A server in this process: device, host state, control socket, and the watch over them."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from datetime import datetime, timezone
from threading import Event, RLock, Thread
from time import monotonic
from typing import TYPE_CHECKING

from wgbind._native import Device, __version__
from wgbind.api.broadcast import Broadcast
from wgbind.api.status import ServerInfo
from wgbind.errors import DeviceError, StateError, StoreError, WgbindError
from wgbind.firewall import apply as firewall
from wgbind.net.host import host_view
from wgbind.precedence import give_way
from wgbind.server import events
from wgbind.server.adoption import Adoption
from wgbind.server.advertised import advertise
from wgbind.server.configuration import Configuration
from wgbind.server.events import EventReader
from wgbind.server.expiry import Expiry
from wgbind.server.firewall import firewall_report
from wgbind.server.hooks import Hooks
from wgbind.server.journal import alone, is_left, recover
from wgbind.server.limits import Limits
from wgbind.server.listeners import make_listeners
from wgbind.server.lock import Lock
from wgbind.server.peers import StoredPeers
from wgbind.server.policy import resolve
from wgbind.server.privilege import require_net_admin
from wgbind.server.reconciler import Desired, Overtaken, Reconciler
from wgbind.server.recorder import Recorder
from wgbind.server.report import Running, report
from wgbind.server.roster import Roster
from wgbind.settings.files import make_folder
from wgbind.store.history import NONE, Entry
from wgbind.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

    from wgbind.api.firewall import FirewallReport
    from wgbind.api.status import ServerStatus
    from wgbind.apply.document import Document
    from wgbind.apply.report import Applied, ApplyPlan
    from wgbind.keys import PublicKey
    from wgbind.server.advertised import Advertised
    from wgbind.server.limits import Limit
    from wgbind.settings.model import ServerSettings
    from wgbind.settings.paths import Paths

_log = logging.getLogger(__name__)

# How soon a change of the store is noticed, and a limit of which nobody tells.
_POLL_SECONDS = 0.1
# How soon a change that others made to the host is noticed: an interface for the default route
# that came or went, a ruleset that was flushed.
_RECHECK_SECONDS = 15.0
# How often the store is looked at anew, as others change the device, before it is applied anyway.
_RETRIES = 20
_RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)


class Node:
    """A running server, from `start` to `stop`; its methods may be called from any thread.

    Args:
        paths: The server's files.

    Attributes:
        name: Its interface.
        paths: Its files.
        events: What happens to its peers.
        peers: Its peers.
    """

    def __init__(self, paths: Paths) -> None:
        self.name = paths.name
        self.paths = paths
        self.events = Broadcast()
        self.peers = StoredPeers(self)
        self._undo = ExitStack()
        self._converging = RLock()
        self._adopting = RLock()
        self._unapplied = False  # what was taken over
        self._stopping = False
        self._ended = Event()
        self._end: str | None = None
        self._expiry = Expiry()
        self._served: frozenset[PublicKey] = frozenset()
        self._problems: tuple[str, ...] = ()
        self._failures = 0
        self._retries = 0
        self._next_check = 0.0

    def start(self) -> None:
        """Bring the server up; return when it works. A failure leaves nothing behind.

        Raises `StateError` if it runs already, and any other `WgbindError`.
        """
        name = self.paths.name
        require_net_admin(f"starting {name}")
        with ExitStack() as undo, ExitStack() as undo_failure:
            make_folder(self.paths.run_dir)
            undo.callback(Lock.acquire(self.paths.lock).release)
            recover(self.paths)
            fresh = not self.paths.settings.exists()
            if fresh:
                self._configuration = Configuration.create(self.paths)
                undo_failure.callback(self.paths.settings.unlink)
                undo_failure.callback(self.paths.private_key.unlink)
            else:
                self._configuration = Configuration.load(self.paths)
                self._store = undo.enter_context(self._open_store())

            settings, private_key = self._configuration.settings, self._configuration.private_key
            self._device = Device(
                name,
                mtu=settings.interface.mtu,
                workers=None if settings.device.workers == "auto" else settings.device.workers,
                without=settings.device.without,
            )
            self._adoption = Adoption(self._device, self.paths)
            self._reconciler = Reconciler(
                self._device, self.paths, self._leaving, self._is_overtaken
            )
            hooks = Hooks(settings.wg_quick, name)
            watcher = Thread(target=self._watch, name="wgbind-watch", daemon=True)
            # In reverse: the device closes while the firewall still stands.
            undo.callback(self._reconciler.release)
            self._reader = EventReader(self._device, self.events, self._name_of)
            undo.callback(self._reader.join)
            undo.callback(_join, watcher)
            undo.callback(hooks.run_all, "PostDown")
            undo.callback(self._device.close)
            hooks.run("PreUp")
            self._reconciler.configure(settings, private_key)
            if fresh:
                # The store is made last: a start that is refused leaves no trace.
                self._store = undo.enter_context(self._open_store())
            self._roster = Roster(self._store, name)
            self._recorder = Recorder(self._device, self._store, name, self._roster)
            undo.callback(self._recorder.record)
            self._limits = Limits(name, self._device, self._store, self._tell_limit)
            self._note(tuple(self._converge_whole()))

            self._started_at = datetime.now(timezone.utc)
            undo.callback(hooks.run_all, "PreDown")
            undo.callback(self._adopt_last)
            listeners = []
            for listener in make_listeners(self, self.paths, settings.api):
                undo.callback(listener.close)
                listeners.append(listener)
            # They wait for the calls under way, and to listen is one without an end.
            undo.callback(self.events.close)
            self._reader.start()
            for listener in listeners:
                listener.start()
            watcher.start()
            hooks.run("PostUp")
            undo_failure.pop_all()
            self._undo = undo.pop_all()
        _log.info("%s is up", name)

    def stop(self) -> None:
        """Take the server down and give back what it changed on the host."""
        self._stopping = True
        self._undo.close()
        _log.info("%s is down", self.paths.name)

    def wait(self, timeout: float | None = None) -> str | None:
        """Wait until the server ends by itself; return why, or None after `timeout` seconds."""
        self._ended.wait(timeout)
        return self._end

    @property
    def problems(self) -> tuple[str, ...]:
        """What the host refused so far, which is tried again, and what of `wg` is not kept."""
        found = (*self._problems, *self._adoption.problems, *self._reconciler.problems())
        return tuple(dict.fromkeys(found))

    def configuration(self) -> Configuration:
        """Return the settings and the private key that it works by.

        What `wg` was told is done is in them, and in the store.
        """
        self._settle()
        return self._configuration

    def advertised(self, endpoint: str | None = None) -> Advertised:
        """Return where client configurations say that it is, by one of `client.endpoints`."""
        settings = self._configuration.settings
        port = settings.interface.listen_port or self._device.status([]).listen_port
        return advertise(settings, port, host_view(settings.fwmark), endpoint)

    def info(self, endpoint: str | None = None) -> ServerInfo:
        """Say who it is; `endpoint` is a name in `client.endpoints`, or raises `InputError`."""
        advertised = self.advertised(endpoint)
        return ServerInfo(
            name=self.name,
            version=__version__,
            groups=self._configuration.settings.policy.groups,
            endpoint=None if advertised.endpoint is None else str(advertised.endpoint),
            endpoint_remark=advertised.remark,
        )

    def status(self) -> ServerStatus:
        """Read the state of the server and its peers."""
        self._settle()
        stored = self._roster.read()
        device, histories = self._recorder.read()
        peers = [
            (peer, histories.get(Entry(row_id, peer.created_at), NONE))
            for row_id, peer in sorted(stored.items(), key=lambda item: item[1].name)
        ]
        return report(
            self.paths.name,
            self._configuration,
            peers,
            Running(
                os.getpid(),
                self._started_at,
                device,
                self.firewall(),
                self.problems,
            ),
        )

    def firewall(self) -> FirewallReport:
        """Describe the rules in force."""
        settings = self._configuration.settings
        policy = resolve(self.paths.name, settings, (), host_view())
        return firewall_report(policy, firewall.current(self.paths.name) or firewall.Counters({}))

    def pid(self) -> int:
        """Return the number of this process."""
        return os.getpid()

    def plan(self, document: Document, *, prune: bool = False) -> ApplyPlan:
        """Tell what `apply` would change; raises as it does."""
        from wgbind.apply.application import Application

        self._settle()
        return Application(self, document, prune=prune).plan

    def apply(self, document: Document, *, prune: bool = False) -> Applied:
        """Make it what a document says, all or nothing; raises as `Server.apply` does."""
        from wgbind.apply.application import Application

        with alone(self.paths), self._converging:
            self._settle()
            return Application(self, document, prune=prune).apply()

    def converge(self) -> tuple[str, ...]:
        """Bring device and host to what the store says now; return what could not be done.

        What failed is tried again, later and later.
        """
        return self._converge(self._converge_changes)

    def reload(self) -> tuple[str, ...]:
        """Read settings and key again, then converge; return what could not be done.

        Raises `SettingsError` and the like for what is wrong in the files; nothing changed then.
        """
        with self._converging:
            configuration = Configuration.load(self.paths)
            fixed = _fixed(self._configuration.settings)
            changed = [
                key for key, value in _fixed(configuration.settings).items() if value != fixed[key]
            ]
            if changed:
                raise StateError(
                    f"{self.paths.settings}: {', '.join(changed)} changed;"
                    " stop and start the server"
                )
            self._configuration = configuration
            return self._converge(self._converge_whole)

    def _settle(self) -> None:
        """Take over what `wg` was told is done, and apply what comes of it."""
        if self._adoption.is_due():
            self.converge()
        with self._adopting:  # by another thread, which may be at it
            unapplied = self._unapplied
        if unapplied:
            with self._converging:
                pass

    def _adopt(self) -> None:
        """Take over what others changed on the device, before the store is applied to it."""
        with self._adopting:
            self._unapplied = self._unapplied or self._adoption.is_due()
            applied = self._reconciler.applied
            self._configuration = self._adoption.take_settings(
                self._configuration, applied.values()
            )
            outcome = self._adoption.take_peers(self._store, self._configuration, applied)
            self._reconciler.note(outcome.given, outcome.gone)

    def _adopt_last(self) -> None:
        with self._converging:
            try:
                self._adopt()
            except WgbindError as error:
                _log.warning("control socket: lost with the end of the server: %s", error)

    def _open_store(self) -> Store:
        return Store.open(self.paths, self._configuration.settings)

    def _converge(self, how: Callable[[], Sequence[str]]) -> tuple[str, ...]:
        with self._converging:
            try:
                problems = tuple(self._apply(how))
            except WgbindError as error:
                problems = (str(error),)
            self._note(problems)
            self._unapplied = False
            # Not those of names: they are looked up beside it, now or later.
            return tuple(dict.fromkeys((*problems, *self._adoption.problems)))

    def _apply(self, how: Callable[[], Sequence[str]]) -> Sequence[str]:
        """Take over what others changed and apply what should be; anew if they change more."""
        self._retries = _RETRIES
        while True:
            self._adopt()
            try:
                problems = how()
            except Overtaken:
                self._retries -= 1
            else:
                break
        self._reader.tell_announced()
        return problems

    def _is_overtaken(self) -> bool:
        return self._retries > 0 and self._adoption.is_due()

    def _converge_whole(self) -> Sequence[str]:
        """Look at everything: what others changed on the host counts, too."""
        self._roster.refresh()
        desired, _ = self._desired()
        problems = self._reconciler.apply(desired)
        self._limits.look_at_addresses(desired.settings)
        return problems

    def _converge_changes(self) -> Sequence[str]:
        """Look at the peers that changed in the store, or whose date has come."""
        touched = self._roster.refresh()
        desired, switched = self._desired()
        if touched is None:
            problems = self._reconciler.apply(desired)
        else:
            problems = self._reconciler.apply_changes(desired, touched | switched)
        self._limits.look_at_addresses(desired.settings)
        return problems

    def _desired(self) -> tuple[Desired, AbstractSet[PublicKey]]:
        """Return what should be, and the keys of those that are served only now or no more."""
        peers = self._expiry.served(self._roster.peers())
        self._reader.announce(events.expired(peer) for peer in self._expiry.take_expired())
        before, self._served = self._served, frozenset(peer.public_key for peer in peers)
        settings, private_key = self._configuration.settings, self._configuration.private_key
        return Desired(settings, private_key, peers), before ^ self._served

    def _name_of(self, public_key: PublicKey) -> str | None:
        return self._roster.name_of(public_key)

    def _leaving(self, keys: Collection[PublicKey]) -> AbstractContextManager[None]:
        return self._recorder.leaving(keys)

    def _tell_limit(self, limit: Limit, detail: str) -> None:
        event = events.limit_reached(limit, detail)
        _log.warning("%s", event)
        self.events.publish([event])

    def _note(self, problems: tuple[str, ...]) -> None:
        """Log problems that are new, and set the time of the next check."""
        for problem in problems:
            if problem not in self._problems:
                _log.warning("%s", problem)
        if self._problems and not problems:
            _log.info("all is applied again")
        self._problems = problems
        if problems:
            delay = _RETRY_SECONDS[min(self._failures, len(_RETRY_SECONDS) - 1)]
            self._failures += 1
        else:
            delay = _RECHECK_SECONDS
            self._failures = 0
        self._next_check = monotonic() + delay

    def _watch(self) -> None:
        give_way()
        try:
            while (reason := self._device.wait(self._patience())) is None:
                if monotonic() >= self._next_check:
                    self._catch_up(self._converge_whole)
                elif self._is_due():
                    self._catch_up(self._converge_changes)
                self._recorder.record_if_due()
                self._limits.look_at_counters(self._configuration.settings)
        except DeviceError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001  whatever ends this thread ends the server
            _log.exception("the watch failed")
            reason = str(error)
        if not self._stopping:
            _log.error("the device ended: %s", reason)
            self._end = reason
        self._ended.set()

    def _catch_up(self, how: Callable[[], Sequence[str]]) -> None:
        """Converge, also to settings that a killed process left on their way with its peers."""
        try:
            if is_left(self.paths):
                self.reload()
                return
        except WgbindError as error:
            _log.warning("settings on their way: %s", error)
        self._converge(how)

    def _patience(self) -> float:
        """Until the store is looked at again, or the next peer expires."""
        left = self._expiry.seconds_left()
        return left if 0 < left < _POLL_SECONDS else _POLL_SECONDS

    def _is_due(self) -> bool:
        if self._adoption.is_due() or self._expiry.seconds_left() <= 0:
            return True
        try:
            return not self._roster.is_current
        except StoreError:
            # Converging meets it too, and reports it.
            return not self._problems


def _fixed(settings: ServerSettings) -> dict[str, object]:
    """Return what only a start applies, by key."""
    sections = {"store": settings.store, "device": settings.device, "api": settings.api}
    return {f"{name}.{key}": value for name, section in sections.items() for key, value in section}


def _join(thread: Thread) -> None:
    if thread.ident is not None:
        thread.join()
