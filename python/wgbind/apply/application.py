"""A document is applied to a server: compared, checked, written in one go, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from wgbind.api.change import NewPeer, PeerRemoval, PeerUpdate
from wgbind.apply import settings as settings_file
from wgbind.apply.difference import Difference, difference
from wgbind.apply.report import ApplyPlan
from wgbind.errors import InputError, StateError, WgbindError
from wgbind.net.host import host_view
from wgbind.server.configuration import Configuration
from wgbind.server.peers import StoredPeers
from wgbind.settings import toml
from wgbind.settings.defaults import fresh_settings
from wgbind.settings.files import atomic_write, make_folder
from wgbind.settings.private_key import create_private_key, private_key_path, read_private_key
from wgbind.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wgbind.api.change import Change
    from wgbind.apply.document import Document
    from wgbind.server.advertised import Advertised
    from wgbind.server.server import Server
    from wgbind.settings.model import ServerSettings
    from wgbind.settings.paths import Paths
    from wgbind.store.kept import Kept
    from wgbind.store.peer import Peer, PeerChanges


@dataclass(frozen=True)
class Applied:
    """What became of a document.

    Attributes:
        plan: What it changed.
        added: The new peers, with the private keys that were made for them.
    """

    plan: ApplyPlan
    added: Sequence[Peer] = ()


class Application:
    """A document beside the server that it speaks of.

    Args:
        server: The server, running or stopped.
        document: What shall be.
        prune: Whether peers go that the document does not name; it must name peers then.

    Raises `InputError` for what is wrong in the document, `NotFoundError` if the server has no
    settings and the document gives none.
    """

    def __init__(self, server: Server, document: Document, *, prune: bool = False) -> None:
        if prune and document.peers is None:
            raise InputError("prune: the document names no peers; write peers: {} to remove all")
        self._server = server
        self._document = document
        self._prune = prune
        path = server.paths.settings
        self._old: ServerSettings | None = None
        self._old_text: str | None = None
        if path.exists() or not document.settings:
            self._old = toml.load(path)
            self._old_text = path.read_text("utf-8")
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
        home = _Home(self._server, self._configuration(), reload=bool(plan.settings))
        changes = list(self._changes())
        try:
            peers = StoredPeers(home).apply(self._and_settings(changes))
        except WgbindError as error:
            self._restore_settings()
            raise self._located(error, changes) from None
        except BaseException:
            self._restore_settings()
            raise
        refused = home.error or next((each for each in home.problems if each not in before), None)
        if refused is not None:
            self._undo(peers, kept)
            raise StateError(f"{self._server.name} cannot apply it, so nothing changed: {refused}")
        added = peers[len(peers) - len(self._difference.added) :]
        return Applied(plan, added)

    def _compare(self) -> Difference:
        if self._document.peers is None:
            return Difference()
        with Store.open(self._server.paths, self._settings) as store:
            peers = store.peers(self._server.name)
        return difference(peers, self._document.peers, prune=self._prune)

    def _configuration(self) -> Configuration:
        """What the server will work by; without settings before, make its key."""
        paths = self._server.paths
        if self._old is None:
            make_folder(paths.config_dir)
            key = create_private_key(paths.private_key)
        else:
            key = read_private_key(private_key_path(paths, self._settings))
        return Configuration(self._settings, key)

    def _refuse_fixed(self, old: ServerSettings) -> None:
        for name in ("store", "device"):
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

    def _and_settings(self, changes: Sequence[Change]) -> Iterator[Change]:
        """Give the changes; behind the last, before they are kept, write the settings."""
        yield from changes
        if self._text != self._old_text and self._settings != self._old:
            atomic_write(self._server.paths.settings, self._text.encode(), 0o600)

    def _restore_settings(self) -> None:
        paths = self._server.paths
        if self._old_text is not None:
            if paths.settings.read_text("utf-8") != self._old_text:
                atomic_write(paths.settings, self._old_text.encode(), 0o600)
            return
        paths.settings.unlink(missing_ok=True)
        paths.private_key.unlink(missing_ok=True)

    def _keep(self) -> Kept:
        """Keep who is to be removed, in case that the server refuses the rest."""
        with Store.open(self._server.paths, self._settings) as store:
            keys = [peer.public_key for peer in self._difference.removed]
            return store.keep(self._server.name, keys)

    def _undo(self, peers: Sequence[Peer], kept: Kept | None) -> None:
        self._restore_settings()
        back: list[Change] = []
        count = len(self._difference.removed) + len(self._difference.changed)
        back += [PeerRemoval(peer.public_key) for peer in peers[count:]]
        for (old, changes), new in zip(
            self._difference.changed, peers[len(self._difference.removed) : count], strict=True
        ):
            fields = {key: getattr(old, key) for key in changes}
            back.append(PeerUpdate(new.public_key, cast("PeerChanges", fields)))
        home = _Home(self._server, self._server.configuration(), reload=True)
        StoredPeers(home).apply(back)
        if kept is not None and self._difference.removed:
            with Store.open(self._server.paths, home.configuration().settings) as store:
                store.put_back(kept)
            self._server.converge()

    def _located(self, error: WgbindError, changes: Sequence[Change]) -> WgbindError:
        """Say where in the document the change stands that was refused."""
        if error.item is None or error.item >= len(changes):
            return error
        change = changes[error.item]
        if isinstance(change, NewPeer):
            name = change.name
        else:
            number = error.item - len(self._difference.removed)
            if number < 0:
                return error
            name = self._difference.changed[number][0].name
        place = self._document.source.at("peers", name)
        return type(error)(f"{place}key peers.{name}: {error}")


class _Home:
    """A server whose settings are about to change: what `StoredPeers` asks of it."""

    def __init__(self, server: Server, configuration: Configuration, *, reload: bool) -> None:
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
        """Let a running server work by new settings and new peers at once."""
        if self._server.pid() is None:
            return ()
        try:
            if self._reload:
                self.problems = self._server.reload()
            else:
                self.problems = self._server.converge()
        except WgbindError as error:
            self.error = error
        return ()

    def advertised(self, endpoint: str | None = None) -> Advertised:
        return self._server.advertised(endpoint)
