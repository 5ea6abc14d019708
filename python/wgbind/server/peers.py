"""The peers of one server, as its owner handles them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

from wgbind.errors import ConflictError, InputError, WgbindError
from wgbind.keys import PresharedKey, PrivateKey
from wgbind.server.client import client_configuration, reached
from wgbind.settings.reference import Reference
from wgbind.store.peer import require_unexpired
from wgbind.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from typing_extensions import Unpack

    from wgbind.keys import PublicKey
    from wgbind.server.configuration import Configuration
    from wgbind.server.server import Server
    from wgbind.settings.address import Address, Network
    from wgbind.settings.client import ClientOverrides
    from wgbind.settings.model import ServerSettings
    from wgbind.settings.wg_quick import ClientConfiguration
    from wgbind.store.peer import Peer, PeerChanges, PeerFields

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewPeer:
    """A peer to be made; the fields are the arguments of `Peers.add`."""

    name: str
    public_key: PublicKey | None = None
    preshared_key: PresharedKey | bool = field(default=True, repr=False)
    addresses: Sequence[Address] | None = None
    routed_networks: Sequence[Network] = ()
    groups: Iterable[str] = ()
    endpoint: tuple[str, int] | None = None
    persistent_keepalive: int = 0
    client: ClientOverrides | None = None
    description: str = ""
    expires_at: datetime | None = None


class Peers:
    """The peers of a server, whether it runs or not.

    A change is in the store when the call returns, and a running server works by it. If the
    server could not apply it, that is logged, shown in its status, and tried again. Every method
    raises `StoreError` for a store that cannot be used and `NotFoundError` for a server without
    settings.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    def add(
        self,
        name: str,
        *,
        public_key: PublicKey | None = None,
        preshared_key: PresharedKey | bool = True,
        addresses: Sequence[Address] | None = None,
        routed_networks: Sequence[Network] = (),
        groups: Iterable[str] = (),
        endpoint: tuple[str, int] | None = None,
        persistent_keepalive: int = 0,
        client: ClientOverrides | None = None,
        description: str = "",
        expires_at: datetime | None = None,
    ) -> Peer:
        """Add a peer.

        Args:
            name: Its name among the peers of this server.
            public_key: Its key; None makes a key pair for it.
            preshared_key: True makes one, False is none.
            addresses: Its addresses in the tunnel; None takes the next free ones.
            routed_networks: Networks behind it that are reached through it.
            groups: Groups that it is in; the settings name those there are, in `policy.groups`.
            endpoint: Name or address and UDP port where it listens, if it does.
            persistent_keepalive: Seconds between packets that this server sends it; 0 is off.
            client: What its own configuration says other than those of the others.
            description: One line about it.
            expires_at: When the server ceases to serve it, with its time zone; None is never.

        Returns:
            The peer. A private key made for it is in this object, and nowhere else unless the
            settings say `client.store_private_keys`.

        Raises:
            InputError: what was given is wrong, or there is no such group.
            ConflictError: name, key, address or network is taken, or no address is left.
        """
        return self.add_many(
            [
                NewPeer(
                    name,
                    public_key=public_key,
                    preshared_key=preshared_key,
                    addresses=addresses,
                    routed_networks=routed_networks,
                    groups=groups,
                    endpoint=endpoint,
                    persistent_keepalive=persistent_keepalive,
                    client=client,
                    description=description,
                    expires_at=expires_at,
                )
            ]
        )[0]

    def add_many(self, new: Iterable[NewPeer]) -> Sequence[Peer]:
        """Add peers in one transaction, all of them or none, and return them as `add` does.

        A running server applies them at once. Raises as `add` does, and what `new` raises; of
        `new`, nothing behind the peer that was refused was asked for.
        """
        configuration = self._server.configuration()
        settings = configuration.settings
        private_keys: dict[PublicKey, PrivateKey] = {}

        def fields() -> Iterator[tuple[str, PeerFields]]:
            for each in new:
                private_key = None
                public_key = each.public_key
                if public_key is None:
                    private_key = PrivateKey.generate()
                    public_key = private_key.public_key()
                    private_keys[public_key] = private_key
                else:
                    _refuse_own(public_key, configuration)
                preshared_key = None
                if isinstance(each.preshared_key, PresharedKey):
                    preshared_key = each.preshared_key
                elif each.preshared_key:
                    preshared_key = PresharedKey.generate()
                yield (
                    each.name,
                    {
                        "public_key": public_key,
                        "preshared_key": preshared_key,
                        "addresses": each.addresses,
                        "routed_networks": each.routed_networks,
                        "groups": _require_declared(each.groups, settings),
                        "endpoint": each.endpoint,
                        "persistent_keepalive": each.persistent_keepalive,
                        "private_key": private_key if settings.client.store_private_keys else None,
                        "client": each.client,
                        "description": each.description,
                        "expires_at": each.expires_at,
                    },
                )

        with Store.open(self._server.paths, settings) as store:
            peers = store.add_peers(
                self._server.name,
                fields(),
                pools=settings.interface.addresses,
                check=lambda peer: reached(settings, None, peer, ()),
            )
        self._converge()
        return [replace(peer, private_key=private_keys.get(peer.public_key)) for peer in peers]

    def get(self, which: str | PublicKey) -> Peer:
        """Return the peer with this name or public key; raise `NotFoundError`."""
        with Store.open(self._server.paths, self._server.configuration().settings) as store:
            return store.peer(self._server.name, which)

    def list(self) -> list[Peer]:
        """Return all peers, by name."""
        with Store.open(self._server.paths, self._server.configuration().settings) as store:
            return store.peers(self._server.name)

    def edit(self, which: str | PublicKey, edit: Callable[[Peer], Peer]) -> Peer:
        """Make of a peer what `edit` makes of it, all or nothing; its session goes on where it can.

        `edit` gets the peer as the store has it, and nobody else changes it meanwhile. Raises what
        `edit` raises, and as `add` does.
        """
        return self._edit_many([(which, edit)])[0]

    def update(self, which: str | PublicKey, **changes: Unpack[PeerChanges]) -> Peer:
        """Change what is named of a peer; the fields are those of `Peer`. Otherwise as `edit`."""
        return self.update_many({which: changes})[0]

    def update_many(self, changes: Mapping[str | PublicKey, PeerChanges]) -> Sequence[Peer]:
        """Change what is named of each peer, one after the other, all or nothing; as `update`."""
        return self._edit_many(
            [(which, partial(_changed, fields)) for which, fields in changes.items()]
        )

    def regroup(
        self, which: str | PublicKey, *, join: Iterable[str] = (), leave: Iterable[str] = ()
    ) -> Peer:
        """Put a peer into groups, take it out of others, and return it; the rest stays as it is.

        Raises `InputError` for a group that is not in the settings (one that it is in can always
        be left), `NotFoundError`.
        """
        joined, left = frozenset(join), frozenset(leave)
        return self.edit(which, lambda old: self.regrouped(old, joined, left))

    def regrouped(self, peer: Peer, join: Iterable[str], leave: Iterable[str]) -> Peer:
        """Return `peer` with other groups, for `edit`; raises as `regroup` does."""
        left = frozenset(leave)
        _require_declared(left - peer.groups, self._server.configuration().settings)
        return replace(peer, groups=(peer.groups | frozenset(join)) - left)

    def disable(self, which: str | PublicKey) -> Peer:
        """Serve a peer no more; its session ends at once, and it keeps all it has.

        Raises `NotFoundError`.
        """
        return self.update(which, enabled=False)

    def enable(self, which: str | PublicKey, *, expires_at: datetime | None = None) -> Peer:
        """Serve a peer again, until `expires_at` if that is given.

        Raises `PeerError` if it has expired and gets no later date, `NotFoundError`.
        """

        def enabled(old: Peer) -> Peer:
            until = old.expires_at if expires_at is None else expires_at
            new = replace(old, enabled=True, expires_at=until)
            require_unexpired(new, datetime.now(timezone.utc))
            return new

        return self.edit(which, enabled)

    def rotate(self, which: str | PublicKey, *, public_key: PublicKey | None = None) -> Peer:
        """Give a peer new keys; what it has with the old ones ends at once, addresses stay.

        Args:
            which: Its name or public key.
            public_key: Its new key; None makes a key pair for it.

        Returns:
            The peer, with a private key made for it as `add` returns it. Its preshared key is new
            if it has one.

        Raises:
            ConflictError: another peer has that key, or the server itself.
            NotFoundError: there is no such peer.
        """
        private_key = PrivateKey.generate() if public_key is None else None
        key = private_key.public_key() if private_key is not None else public_key
        stored = self._server.configuration().settings.client.store_private_keys

        def rotated(old: Peer) -> Peer:
            if key is None or key == old.public_key:
                raise InputError(f"public key {key}: {old.name} has it already; give a new one")
            return replace(
                old,
                public_key=key,
                private_key=private_key if stored else None,
                preshared_key=None if old.preshared_key is None else PresharedKey.generate(),
            )

        return replace(self.edit(which, rotated), private_key=private_key)

    def remove(self, which: str | PublicKey) -> Peer:
        """Remove a peer and return what it was; raise `NotFoundError`."""
        return self.remove_many([which])[0]

    def remove_many(self, which: Iterable[str | PublicKey]) -> Sequence[Peer]:
        """Remove peers, all of them or none, and return what they were; raise `NotFoundError`."""
        with Store.open(self._server.paths, self._server.configuration().settings) as store:
            peers = store.remove_peers(self._server.name, which)
        self._converge()
        return peers

    def client_configuration(self, peer: Peer) -> ClientConfiguration:
        """Write down what the peer's own end has to know; it holds its secrets.

        Raises `InputError` if the settings leave nothing that it reaches through the tunnel.
        """
        return self.client_configurations([peer])[0]

    def client_configurations(self, peers: Iterable[Peer]) -> Sequence[ClientConfiguration]:
        """Write down what the peers' own ends have to know, as `client_configuration` does."""
        configuration = self._server.configuration()
        public_key = configuration.private_key.public_key()
        endpoint = self._server.advertised().endpoint
        # Of the others, what is behind them is all that one end has to know.
        sites = [peer for peer in self.list() if peer.routed_networks]
        return [
            client_configuration(configuration.settings, public_key, endpoint, peer, sites)
            for peer in peers
        ]

    def _edit_many(
        self, edits: Sequence[tuple[str | PublicKey, Callable[[Peer], Peer]]]
    ) -> Sequence[Peer]:
        configuration = self._server.configuration()
        settings = configuration.settings

        def checked(edit: Callable[[Peer], Peer], old: Peer) -> Peer:
            new = edit(old)
            if new.public_key != old.public_key:
                _refuse_own(new.public_key, configuration)
            _require_declared(new.groups - old.groups, settings)
            if new.client != old.client:
                reached(settings, None, new, ())
            return new

        with Store.open(self._server.paths, settings) as store:
            peers = store.edit_peers(
                self._server.name,
                [(which, partial(checked, edit)) for which, edit in edits],
                pools=settings.interface.addresses,
            )
        self._converge()
        return peers

    def _converge(self) -> None:
        """Let a running server apply the change; it is in the store in any case."""
        try:
            problems = self._server.converge()
        except WgbindError as error:
            problems = (str(error),)
        for problem in problems:
            _log.warning("stored, but not applied yet: %s", problem)


def _changed(changes: PeerChanges, old: Peer) -> Peer:
    return replace(old, **changes)


def _require_declared(groups: Iterable[str], settings: ServerSettings) -> frozenset[str]:
    """Return groups that the settings name; raise `InputError` for one that they do not."""
    names = frozenset(groups)
    for name in sorted(names):
        Reference.parse(f"group:{name}", settings.policy.vocabulary)
    return names


def _refuse_own(public_key: PublicKey, configuration: Configuration) -> None:
    """Refuse the server's own key: the device would pass over such a peer without a word."""
    if public_key == configuration.private_key.public_key():
        raise ConflictError(f"public key {public_key} is the server's own; give the peer another")
