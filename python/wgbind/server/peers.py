"""The peers of one server in the store: how changes of them are made."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Protocol

from wgbind.api.change import (
    NewPeer,
    PeerEnabling,
    PeerRegrouping,
    PeerRemoval,
    PeerRotation,
    PeerUpdate,
)
from wgbind.api.peers import Peers, regrouped, warn
from wgbind.errors import ConflictError, InputError, WgbindError
from wgbind.keys import PresharedKey, PrivateKey
from wgbind.server.client import client_configuration, reached
from wgbind.settings.reference import require_groups
from wgbind.store.peer import require_unexpired
from wgbind.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from wgbind.api.change import Change
    from wgbind.keys import PublicKey
    from wgbind.server.advertised import Advertised
    from wgbind.server.configuration import Configuration
    from wgbind.settings.paths import Paths
    from wgbind.settings.wg_quick import ClientConfiguration
    from wgbind.store.peer import Peer, PeerChanges
    from wgbind.store.transaction import Transaction


class Home(Protocol):
    """The server whose peers they are."""

    @property
    def name(self) -> str:
        """Its interface."""

    @property
    def paths(self) -> Paths:
        """Its files."""

    def configuration(self) -> Configuration:
        """Return what it works by, or would."""

    def converge(self) -> tuple[str, ...]:
        """Let it, if it runs, apply what the store says now; return what could not be applied."""

    def advertised(self, endpoint: str | None = None) -> Advertised:
        """Return where client configurations say that it is, by one of `client.endpoints`."""


class StoredPeers(Peers):
    """The peers of a server in the store."""

    def __init__(self, server: Home) -> None:
        self._server = server

    def apply(self, changes: Iterable[Change]) -> Sequence[Peer]:
        """As `Peers` says; of `changes`, nothing behind the one that was refused is asked for."""
        return self.apply_and(changes, lambda _: None)

    def apply_and(
        self, changes: Iterable[Change], last: Callable[[Transaction], None]
    ) -> Sequence[Peer]:
        """Make changes as `apply` does, and what `last` does in the same transaction."""
        configuration = self._server.configuration()
        peers: list[Peer] = []
        listed = changes if isinstance(changes, Sequence) else ()
        expected = [str(each.which) for each in listed if not isinstance(each, NewPeer)]
        with (
            self._open(configuration) as store,
            store.transaction(
                self._server.name,
                pools=configuration.settings.interface.addresses,
                limits=configuration.settings.pool,
                expected=expected,
            ) as transaction,
        ):
            for item, change in enumerate(changes):
                with _numbered(item):
                    peers.append(_apply(transaction, change, configuration))
            last(transaction)
        self._converge()
        return peers

    def edit(self, which: str | PublicKey, edit: Callable[[Peer], Peer]) -> Peer:
        """As `Peers` says; nobody else changes the peer meanwhile."""
        configuration = self._server.configuration()
        with self._open(configuration) as store:
            peer = store.edit_peer(
                self._server.name,
                which,
                partial(_edited, configuration, edit),
                pools=configuration.settings.interface.addresses,
            )
        self._converge()
        return peer

    def get(self, which: str | PublicKey, *, private_keys: bool = False) -> Peer:
        """As `Peers` says."""
        with self._open(self._server.configuration()) as store:
            return store.peer(self._server.name, which, private_keys=private_keys)

    def list(
        self,
        *,
        group: str | None = None,
        enabled: bool | None = None,
        private_keys: bool = False,
    ) -> Sequence[Peer]:
        """As `Peers` says."""
        with self._open(self._server.configuration()) as store:
            peers = store.peers(self._server.name, private_keys=private_keys)
        return [
            peer
            for peer in peers
            if (group is None or group in peer.groups) and enabled in {None, peer.enabled}
        ]

    def groups(self) -> Sequence[str]:
        """As `Peers` says."""
        return self._server.configuration().settings.policy.groups

    def client_configurations(
        self, peers: Iterable[Peer], *, endpoint: str | None = None
    ) -> Sequence[ClientConfiguration]:
        """As `Peers` says."""
        configuration = self._server.configuration()
        public_key = configuration.private_key.public_key()
        advertised = self._server.advertised(endpoint).endpoint
        # Of the others, what is behind them is all that one end has to know.
        with self._open(configuration) as store:
            sites = store.sites(self._server.name)
            complete = store.with_private_keys(peers)
        return [
            client_configuration(configuration.settings, public_key, advertised, peer, sites)
            for peer in complete
        ]

    def _open(self, configuration: Configuration) -> Store:
        return Store.open(self._server.paths, configuration.settings)

    def _converge(self) -> None:
        """Let a running server apply the change; it is in the store in any case."""
        try:
            problems = self._server.converge()
        except WgbindError as error:
            problems = (str(error),)
        warn(problems)


@contextmanager
def _numbered(item: int) -> Iterator[None]:
    try:
        yield
    except WgbindError as error:
        error.item = item
        raise


def _apply(transaction: Transaction, change: Change, configuration: Configuration) -> Peer:
    """Make one change; return the peer with a private key that was made for it."""
    match change:
        case NewPeer():
            return _add(transaction, change, configuration)
        case PeerRotation():
            return _rotate(transaction, change, configuration)
        case PeerRemoval():
            return transaction.remove(change.which)
        case PeerUpdate():
            edit = partial(_updated, change.changes)
        case PeerRegrouping():
            edit = partial(_regrouped, change, configuration.settings.policy.groups)
        case PeerEnabling():
            edit = partial(_enabled, change.expires_at)
    return transaction.edit(change.which, partial(_edited, configuration, edit))


def _add(transaction: Transaction, new: NewPeer, configuration: Configuration) -> Peer:
    settings = configuration.settings
    private_key, public_key = _key_pair(new.public_key, new.private_key)
    _refuse_own(public_key, configuration)
    preshared_key = None
    if isinstance(new.preshared_key, PresharedKey):
        preshared_key = new.preshared_key
    elif new.preshared_key:
        preshared_key = PresharedKey.generate()
    peer = transaction.add(
        new.name,
        {
            "public_key": public_key,
            "preshared_key": preshared_key,
            "addresses": new.addresses,
            "routed_networks": new.routed_networks,
            "groups": require_groups(new.groups, settings.policy.groups),
            "endpoint": new.endpoint,
            "persistent_keepalive": new.persistent_keepalive,
            "private_key": private_key if settings.client.store_private_keys else None,
            "client": new.client,
            "description": new.description,
            "expires_at": new.expires_at,
            "enabled": new.enabled,
            "notes": new.notes,
        },
    )
    reached(settings, None, peer, ())
    return replace(peer, private_key=private_key)


def _rotate(transaction: Transaction, change: PeerRotation, configuration: Configuration) -> Peer:
    private_key, key = _key_pair(change.public_key, None)
    stored = private_key if configuration.settings.client.store_private_keys else None

    def rotated(old: Peer) -> Peer:
        if key == old.public_key:
            raise InputError(f"public key {key}: {old.name} has it already; give a new one")
        return replace(
            old,
            public_key=key,
            private_key=stored,
            preshared_key=None if old.preshared_key is None else PresharedKey.generate(),
        )

    peer = transaction.edit(change.which, partial(_edited, configuration, rotated))
    return replace(peer, private_key=private_key)


def _key_pair(
    public_key: PublicKey | None, private_key: PrivateKey | None
) -> tuple[PrivateKey | None, PublicKey]:
    """Return the keys that were given, or a new pair."""
    if public_key is not None:
        return private_key, public_key
    private_key = private_key or PrivateKey.generate()
    return private_key, private_key.public_key()


def _edited(configuration: Configuration, edit: Callable[[Peer], Peer], old: Peer) -> Peer:
    """Make of `old` what `edit` makes of it, and refuse what the settings do not allow."""
    new = edit(old)
    if new.public_key != old.public_key:
        _refuse_own(new.public_key, configuration)
    require_groups(new.groups - old.groups, configuration.settings.policy.groups)
    if new.client != old.client:
        reached(configuration.settings, None, new, ())
    return new


def _updated(changes: PeerChanges, old: Peer) -> Peer:
    return replace(old, **changes)


def _regrouped(change: PeerRegrouping, groups: Sequence[str], old: Peer) -> Peer:
    return regrouped(old, change.join, change.leave, groups)


def _enabled(expires_at: datetime | None, old: Peer) -> Peer:
    until = old.expires_at if expires_at is None else expires_at
    new = replace(old, enabled=True, expires_at=until)
    require_unexpired(new, datetime.now(timezone.utc))
    return new


def _refuse_own(public_key: PublicKey, configuration: Configuration) -> None:
    """Refuse the server's own key: the device would pass over such a peer without a word."""
    if public_key == configuration.private_key.public_key():
        raise ConflictError(f"public key {public_key} is the server's own; give the peer another")
