"""A document is applied to a server: compared, checked, written in one go, or not at all."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from wgbind.api.change import NewPeer, PeerRemoval, PeerUpdate
from wgbind.apply import settings as settings_file
from wgbind.apply.difference import Difference, difference
from wgbind.apply.report import Applied, ApplyPlan
from wgbind.errors import ConflictError, InputError, NotFoundError, StateError, WgbindError
from wgbind.keys import PrivateKey
from wgbind.net.host import host_view
from wgbind.server.configuration import Configuration
from wgbind.server.journal import Journal, settle
from wgbind.server.peers import Home, StoredPeers
from wgbind.settings import toml
from wgbind.settings.defaults import fresh_settings
from wgbind.settings.files import make_folder
from wgbind.settings.private_key import private_key_path, read_private_key
from wgbind.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wgbind.api.change import Change
    from wgbind.apply.document import Document
    from wgbind.server.advertised import Advertised
    from wgbind.settings.model import ServerSettings
    from wgbind.settings.paths import Paths
    from wgbind.store.kept import Kept
    from wgbind.store.peer import Peer
    from wgbind.store.transaction import Transaction


class Host(Home, Protocol):
    """The server that a document speaks of."""

    def pid(self) -> int | None:
        """Return the number of the process that runs it, None if it is stopped."""

    def reload(self) -> tuple[str, ...]:
        """Let it read its settings again, and apply all; return what could not be applied."""


class Application:
    """A document beside the server that it speaks of.

    To apply it, be `alone` from before it is made.

    Args:
        server: The server, running or stopped.
        document: What shall be.
        prune: Whether peers go that the document does not name; it must name peers then.

    Raises `InputError` for what is wrong in the document, `NotFoundError` if the server has no
    settings and the document gives none.
    """

    def __init__(self, server: Host, document: Document, *, prune: bool = False) -> None:
        if prune and document.peers is None:
            raise InputError("prune: the document names no peers; write peers: {} to remove all")
        self._server = server
        self._document = document
        self._prune = prune
        path = server.paths.settings
        self._old: ServerSettings | None = None
        self._old_text: str | None = None
        try:
            self._old = toml.load(path)
            self._old_text = path.read_text("utf-8")
        except NotFoundError:
            if not document.settings:
                raise
        base = self._old_text or toml.dump(fresh_settings(host_view()))
        self._text, self._settings = settings_file.edited(base, document)
        self._difference = self._compare()

    @property
    def plan(self) -> ApplyPlan:
        """What it changes."""
        changes = () if self._old is None else settings_file.differences(self._old, self._settings)
        return ApplyPlan(
            created=self._old is None,
            settings=tuple(changes),
            peers=self._difference.reports(),
            unchanged=self._difference.unchanged,
        )

    def apply(self) -> Applied:
        """Make it so, all or nothing.

        If the running server cannot apply it, everything becomes again what it was. Raises
        `StateError` then, and as `Peers.apply` does, with the line of the document.
        """
        plan = self.plan
        if not plan.changes:
            return Applied(plan)
        running = self._server.pid() is not None
        if running and self._old is not None:
            self._refuse_fixed(self._old)
        before = frozenset(self._server.converge()) if running else frozenset()
        kept = self._keep() if running else None
        configuration = self._configuration()
        home = _Home(self._server, configuration, reload=bool(plan.settings))
        changes = list(self._changes())
        new = self._text != self._old_text and self._settings != self._old
        try:
            peers = self._write(home, changes, self._text if new else None)
        except WgbindError as error:
            raise self._located(error, changes) from None
        refused = home.error or next((each for each in home.problems if each not in before), None)
        added = peers[len(peers) - len(self._difference.added) :]
        if refused is not None:
            self._undo(added, kept)
            raise StateError(f"{self._server.name} cannot apply it, so nothing changed: {refused}")
        return Applied(plan, added)

    def _compare(self) -> Difference:
        if self._document.peers is None:
            return Difference()
        with Store.open(self._server.paths, self._settings) as store:
            peers = store.peers(self._server.name, private_keys=False)
        return difference(peers, self._document.peers, prune=self._prune)

    def _configuration(self) -> Configuration:
        """What the server will work by; without settings before, with a new key."""
        paths = self._server.paths
        if self._old is not None:
            key = read_private_key(private_key_path(paths, self._settings))
        elif paths.private_key.exists():
            raise ConflictError(f"{paths.private_key}: there is a private key already; it stays")
        else:
            key = PrivateKey.generate()
        return Configuration(self._settings, key)

    def _refuse_fixed(self, old: ServerSettings) -> None:
        for name in ("store", "device", "api"):
            if getattr(old, name) != getattr(self._settings, name):
                raise StateError(
                    f"{self._document.source.at('settings', name)}key settings.{name}: only a "
                    f"start applies it; stop {self._server.name} first"
                )

    def _changes(self) -> Iterator[Change]:
        for peer in self._difference.removed:
            yield PeerRemoval(peer.public_key)
        kept = self._settings.client.store_private_keys
        for peer, fields in self._difference.changed:
            if not kept:
                fields.pop("private_key", None)
            yield PeerUpdate(peer.public_key, fields)
        yield from self._difference.added

    def _write(
        self, home: _Home, changes: Sequence[Change], text: str | None, kept: Kept | None = None
    ) -> Sequence[Peer]:
        """Change peers and settings, both or neither; without a `text` these stay.

        Behind the changes, peers that are `kept` become again what they were.
        """
        journal = None
        if text is not None:
            make_folder(home.paths.config_dir)
            key = None if home.paths.settings.exists() else home.configuration().private_key
            journal = Journal.begin(home.paths, text, key)

        def last(transaction: Transaction) -> None:
            if kept is not None:
                transaction.put_back(kept)
            if journal is not None:
                transaction.keep_settings(journal.token)

        try:
            return StoredPeers(home).apply_and(changes, last)
        except BaseException:
            with suppress(WgbindError):  # it is tried again when the settings are read
                settle(home.paths)
            raise

    def _keep(self) -> Kept:
        """Keep who goes and who changes, in case that the server refuses the rest."""
        found = self._difference
        peers = [*found.removed, *(peer for peer, _ in found.changed)]
        with Store.open(self._server.paths, self._settings) as store:
            return store.keep(self._server.name, [peer.public_key for peer in peers])

    def _undo(self, added: Sequence[Peer], kept: Kept | None) -> None:
        paths, settings = self._server.paths, self._old or self._settings
        key = read_private_key(private_key_path(paths, settings))
        home = _Home(self._server, Configuration(settings, key), reload=True)
        changed = paths.settings.read_text("utf-8") != self._old_text
        back = [PeerRemoval(peer.public_key) for peer in added]
        self._write(home, back, self._old_text if changed else None, kept)

    def _located(self, error: WgbindError, changes: Sequence[Change]) -> WgbindError:
        """Say where in the document the change stands that was refused."""
        if error.item is None:
            return error
        change = changes[error.item]
        if isinstance(change, NewPeer):
            name = change.name
        else:
            number = error.item - len(self._difference.removed)
            if number < 0:
                error.item = None
                return error
            name = self._difference.changed[number][0].name
        place = self._document.source.at("peers", name)
        located = type(error)(f"{place}key peers.{name}: {error}")
        located.item = list(self._document.peers or ()).index(name)
        return located


class _Home:
    """A server whose settings are about to change: what `StoredPeers` asks of it."""

    def __init__(self, server: Host, configuration: Configuration, *, reload: bool) -> None:
        self._server = server
        self._configuration = configuration
        self._reload = reload
        self.problems: tuple[str, ...] = ()
        self.error: WgbindError | None = None

    @property
    def name(self) -> str:
        return self._server.name

    @property
    def paths(self) -> Paths:
        return self._server.paths

    def configuration(self) -> Configuration:
        return self._configuration

    def converge(self) -> tuple[str, ...]:
        """Put the settings into their place; let a running server work by all of it at once."""
        try:
            settle(self.paths)
            if self._server.pid() is not None:
                server = self._server
                self.problems = server.reload() if self._reload else server.converge()
        except WgbindError as error:
            self.error = error
        return ()

    def advertised(self, endpoint: str | None = None) -> Advertised:
        return self._server.advertised(endpoint)
