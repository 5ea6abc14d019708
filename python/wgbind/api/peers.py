"""The peers of one server: one interface, in its process, beside it, and from afar."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from wgbind.api.change import (
    NewPeer,
    PeerEnabling,
    PeerRegrouping,
    PeerRemoval,
    PeerRotation,
    PeerUpdate,
    Transaction,
)
from wgbind.settings.reference import require_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from typing_extensions import Unpack

    from wgbind.api.change import Change, NewPeerFields
    from wgbind.keys import PublicKey
    from wgbind.settings.wg_quick import ClientConfiguration
    from wgbind.store.peer import Peer, PeerChanges

_log = logging.getLogger(__name__)


class Peers(ABC):
    """The peers of a server.

    A change is in the store when the call returns, and a running server works by it. If the server
    could not apply it, that is logged, shown in its status, and tried again. A peer is named by its
    name or its public key.

    Every method raises `StoreError` for a store that cannot be used and `NotFoundError` for a
    server without settings or a peer that is not there; from another process also `StateError`,
    if the server is gone, and `PrivilegeError`.
    """

    @abstractmethod
    def apply(self, changes: Iterable[Change]) -> Sequence[Peer]:
        """Make changes one after the other, all of them or none.

        Returns the peer of each change, as that change left it or, for a removal, as it was. A
        private key that was made is in this object, and nowhere else unless the settings say
        `client.store_private_keys`. Raises as the method for each change does; the error's `item`
        is the number of the change.
        """

    @abstractmethod
    def edit(self, which: str | PublicKey, edit: Callable[[Peer], Peer]) -> Peer:
        """Make of a peer what `edit` makes of it, all or nothing; its session goes on where it can.

        `edit` gets the peer as the store has it. If somebody else changed it meanwhile, it is
        called again. Raises what `edit` raises, and as `add` does.
        """

    @abstractmethod
    def get(self, which: str | PublicKey, *, private_keys: bool = False) -> Peer:
        """Return a peer; with the private key that is stored, if there is, only on demand.

        Raises `StoreError` if that cannot be opened.
        """

    @abstractmethod
    def list(
        self,
        *,
        group: str | None = None,
        enabled: bool | None = None,
        private_keys: bool = False,
    ) -> Sequence[Peer]:
        """Return all peers, by name, or those in a group, or that are enabled or disabled.

        Private keys are there, and raise, as `get` says.
        """

    @abstractmethod
    def groups(self) -> Sequence[str]:
        """Return the names of the groups that the settings name."""

    @abstractmethod
    def client_configurations(
        self, peers: Iterable[Peer], *, endpoint: str | None = None
    ) -> Sequence[ClientConfiguration]:
        """Write down what the peers' own ends have to know, as `client_configuration` does.

        A peer without its private key gets the one that is stored, if there is.
        """

    def client_configuration(
        self, peer: Peer, *, endpoint: str | None = None
    ) -> ClientConfiguration:
        """Write down what the peer's own end has to know; it holds its secrets.

        `endpoint` is the name of one in `client.endpoints` of the settings, None the one for all.
        Raises `InputError` if there is none of that name, or if the settings leave nothing that
        the peer reaches through the tunnel.
        """
        return self.client_configurations([peer], endpoint=endpoint)[0]

    def add(self, name: str, **fields: Unpack[NewPeerFields]) -> Peer:
        """Add a peer; the fields are those of `NewPeer`.

        Returns:
            The peer. A private key made for it is in this object, and nowhere else unless the
            settings say `client.store_private_keys`.

        Raises:
            InputError: what was given is wrong, or there is no such group.
            ConflictError: name, key, address or network is taken, or no address is left.
        """
        return self.apply([NewPeer(name, **fields)])[0]

    def add_many(self, new: Iterable[NewPeer]) -> Sequence[Peer]:
        """Add peers in one transaction, all of them or none, and return them as `add` does.

        Raises as `add` does, and what `new` raises.
        """
        return self.apply(new)

    def update(self, which: str | PublicKey, **changes: Unpack[PeerChanges]) -> Peer:
        """Change what is named of a peer; the fields are those of `Peer`. Otherwise as `edit`."""
        return self.apply([PeerUpdate(which, changes)])[0]

    def update_many(self, changes: Mapping[str | PublicKey, PeerChanges]) -> Sequence[Peer]:
        """Change what is named of each peer, one after the other, all or nothing; as `update`."""
        return self.apply(PeerUpdate(which, fields) for which, fields in changes.items())

    def regroup(
        self, which: str | PublicKey, *, join: Iterable[str] = (), leave: Iterable[str] = ()
    ) -> Peer:
        """Put a peer into groups, take it out of others, and return it; the rest stays as it is.

        Raises `InputError` for a group that is not in the settings (one that it is in can always
        be left).
        """
        return self.apply([PeerRegrouping(which, frozenset(join), frozenset(leave))])[0]

    def regrouped(self, peer: Peer, join: Iterable[str], leave: Iterable[str]) -> Peer:
        """Return `peer` with other groups, for `edit`; raises as `regroup` does."""
        return regrouped(peer, join, leave, self.groups())

    def disable(self, which: str | PublicKey) -> Peer:
        """Serve a peer no more; its session ends at once, and it keeps all it has."""
        return self.update(which, enabled=False)

    def enable(self, which: str | PublicKey, *, expires_at: datetime | None = None) -> Peer:
        """Serve a peer again, until `expires_at` if that is given.

        Raises `PeerError` if it has expired and gets no later date.
        """
        return self.apply([PeerEnabling(which, expires_at)])[0]

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
        """
        return self.apply([PeerRotation(which, public_key)])[0]

    def remove(self, which: str | PublicKey) -> Peer:
        """Remove a peer and return what it was."""
        return self.apply([PeerRemoval(which)])[0]

    def remove_many(self, which: Iterable[str | PublicKey]) -> Sequence[Peer]:
        """Remove peers, all of them or none, and return what they were."""
        return self.apply(PeerRemoval(each) for each in which)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Collect changes in a `with` block and make them at its end, all of them or none.

        An exception in the block leaves everything as it is. Raises as `apply` does.
        """
        transaction = Transaction()
        yield transaction
        transaction.peers = self.apply(transaction.changes)


def warn(problems: Iterable[str]) -> None:
    """Say what of a change that is stored could not be applied."""
    for problem in problems:
        _log.warning("stored, but not applied yet: %s", problem)


def regrouped(peer: Peer, join: Iterable[str], leave: Iterable[str], groups: Sequence[str]) -> Peer:
    """Return `peer` with other groups; `groups` are those there are.

    Raises `InputError` for another one that it shall leave, unless it is in it.
    """
    left = frozenset(leave)
    require_groups(left - peer.groups, groups)
    return replace(peer, groups=(peer.groups | frozenset(join)) - left)
