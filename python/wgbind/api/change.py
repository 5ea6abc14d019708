"""Changes of a server's peers, as they are asked for: one by one, or several in a transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from typing_extensions import Unpack

    from wgbind.keys import PresharedKey, PrivateKey, PublicKey
    from wgbind.settings.address import Address, Network
    from wgbind.settings.client import ClientOverrides
    from wgbind.store.peer import Peer, PeerChanges


class NewPeerFields(TypedDict, total=False):
    """What a new peer can have besides its name; see `NewPeer`."""

    public_key: PublicKey | None
    preshared_key: PresharedKey | bool
    addresses: Sequence[Address] | None
    routed_networks: Sequence[Network]
    groups: Iterable[str]
    endpoint: tuple[str, int] | None
    persistent_keepalive: int
    client: ClientOverrides | None
    description: str
    expires_at: datetime | None
    enabled: bool
    private_key: PrivateKey | None
    notes: str


@dataclass(frozen=True)
class NewPeer:
    """A peer to be made.

    Attributes:
        name: Its name among the peers of the server.
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
        enabled: Whether it is served until then.
        private_key: The one of its key, to be kept if the settings say so; with it, `public_key`
            need not be given.
        notes: Any number of lines about it.
    """

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
    enabled: bool = True
    private_key: PrivateKey | None = field(default=None, repr=False)
    notes: str = ""


@dataclass(frozen=True)
class PeerUpdate:
    """What is named of a peer changes, to these values; the rest stays."""

    which: str | PublicKey
    changes: PeerChanges = field(repr=False)


@dataclass(frozen=True)
class PeerRegrouping:
    """A peer joins groups and leaves others; the rest stays."""

    which: str | PublicKey
    join: frozenset[str] = frozenset()
    leave: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PeerEnabling:
    """A peer is served again, until `expires_at` if that is given."""

    which: str | PublicKey
    expires_at: datetime | None = None


@dataclass(frozen=True)
class PeerRotation:
    """A peer gets a new key, or a new key pair if that is None."""

    which: str | PublicKey
    public_key: PublicKey | None = None


@dataclass(frozen=True)
class PeerRemoval:
    """A peer goes."""

    which: str | PublicKey


Change: TypeAlias = (
    NewPeer | PeerUpdate | PeerRegrouping | PeerEnabling | PeerRotation | PeerRemoval
)


class Transaction:
    """Changes that are made together, in their order, when the block ends; see `Peers.transaction`.

    Attributes:
        changes: What is asked for so far.
        peers: After the block, the peer of each change, as that change left it or, for a removal,
            as it was. Private keys that were made are in these objects.
    """

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.peers: Sequence[Peer] = ()

    def add(self, name: str, **fields: Unpack[NewPeerFields]) -> None:
        """Add a peer; the fields are those of `NewPeer`."""
        self.changes.append(NewPeer(name, **fields))

    def update(self, which: str | PublicKey, **changes: Unpack[PeerChanges]) -> None:
        """Change what is named of a peer; the fields are those of `Peer`."""
        self.changes.append(PeerUpdate(which, changes))

    def regroup(
        self, which: str | PublicKey, *, join: Iterable[str] = (), leave: Iterable[str] = ()
    ) -> None:
        """Put a peer into groups and take it out of others."""
        self.changes.append(PeerRegrouping(which, frozenset(join), frozenset(leave)))

    def disable(self, which: str | PublicKey) -> None:
        """Serve a peer no more."""
        self.update(which, enabled=False)

    def enable(self, which: str | PublicKey, *, expires_at: datetime | None = None) -> None:
        """Serve a peer again, until `expires_at` if that is given."""
        self.changes.append(PeerEnabling(which, expires_at))

    def rotate(self, which: str | PublicKey, *, public_key: PublicKey | None = None) -> None:
        """Give a peer a new key, or a new key pair."""
        self.changes.append(PeerRotation(which, public_key))

    def remove(self, which: str | PublicKey) -> None:
        """Remove a peer."""
        self.changes.append(PeerRemoval(which))
