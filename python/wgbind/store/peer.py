"""One peer as it should be: what the store keeps and the device is told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timezone
from typing import TYPE_CHECKING, TypedDict

from wgbind.errors import InputError, PeerError
from wgbind.settings.address import Endpoint, alone
from wgbind.settings.client import ClientOverrides
from wgbind.settings.reference import parse_name, parse_peer_name
from wgbind.store.expiry import utc_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from typing_extensions import Required

    from wgbind.keys import PresharedKey, PrivateKey, PublicKey
    from wgbind.settings.address import Address, Network

DESCRIPTION_LENGTH = 200
_NOTES_LENGTH = 10_000
_LAYOUT = dict.fromkeys(map(ord, "\n\t"))  # what is taken though it is not printable


@dataclass(frozen=True)
class Peer:
    """A peer of one server.

    The rules of the server's settings speak of its `groups`. `endpoint` is where to send before
    the peer was heard: a host name or address, and a port. `persistent_keepalive` is this server's
    own, in seconds; 0 is off. `private_key` is there only if the settings say that clients' keys
    are stored, and if it was asked for. `created_at` is in UTC. `client` is what its own
    configuration says other than those of the others. `description` is one line for people,
    `notes` are any number of them. A peer that is not `enabled`, or whose `expires_at` (UTC, to
    the second) has come, keeps all it has and is not served. `layout` is how a file of wg-quick(8)
    said it, line by line (see `wgbind.wg_quick.layout`).
    """

    server: str
    name: str
    public_key: PublicKey
    preshared_key: PresharedKey | None = field(hash=False)
    addresses: tuple[Address, ...]
    routed_networks: tuple[Network, ...]
    groups: frozenset[str]
    endpoint: tuple[str, int] | None
    persistent_keepalive: int
    private_key: PrivateKey | None = field(hash=False)
    created_at: datetime
    client: ClientOverrides = field(default_factory=ClientOverrides)
    description: str = ""
    enabled: bool = True
    expires_at: datetime | None = None
    notes: str = ""
    layout: tuple[str, ...] = field(default=(), repr=False)

    @property
    def allowed_ips(self) -> tuple[Network, ...]:
        """What the device accepts from the peer and sends to it: its addresses and networks."""
        return (*map(alone, self.addresses), *self.routed_networks)

    def expired(self, now: datetime) -> bool:
        """Tell whether its date has come at the moment `now`, in UTC."""
        return self.expires_at is not None and self.expires_at <= now

    def served(self, now: datetime) -> bool:
        """Tell whether a server serves it at the moment `now`, in UTC."""
        return self.enabled and not self.expired(now)


class PeerFields(TypedDict, total=False):
    """What a new peer can have besides its name; the fields are those of `Peer`.

    Without `addresses`, it gets the lowest free one of each of the server's networks.
    """

    public_key: Required[PublicKey]
    preshared_key: PresharedKey | None
    addresses: Sequence[Address] | None
    routed_networks: Sequence[Network]
    groups: Iterable[str]
    endpoint: tuple[str, int] | None
    persistent_keepalive: int
    private_key: PrivateKey | None
    client: ClientOverrides | None
    description: str
    expires_at: datetime | None
    enabled: bool
    notes: str


class PeerChanges(TypedDict, total=False):
    """What of a peer can be changed; the fields are those of `Peer`."""

    name: str
    public_key: PublicKey
    preshared_key: PresharedKey | None
    addresses: tuple[Address, ...]
    routed_networks: tuple[Network, ...]
    groups: frozenset[str]
    endpoint: tuple[str, int] | None
    persistent_keepalive: int
    private_key: PrivateKey | None
    client: ClientOverrides
    description: str
    enabled: bool
    expires_at: datetime | None
    notes: str


def normal(peer: Peer) -> Peer:
    """Return a peer as the store keeps it: addresses in order, its date to the second.

    Lines of its notes end as they do on Unix.
    """
    until = peer.expires_at
    if until is not None and until.tzinfo is not None:
        until = until.astimezone(timezone.utc).replace(microsecond=0)
    return replace(
        peer,
        addresses=tuple(sorted(peer.addresses, key=lambda each: (each.version, int(each)))),
        routed_networks=tuple(sorted(peer.routed_networks, key=lambda each: (each.version, each))),
        expires_at=until,
        notes=peer.notes.replace("\r\n", "\n"),
    )


def require_valid(peer: Peer) -> None:
    """Refuse a peer that is wrong by itself, whoever else there is; raise `PeerError`."""
    try:
        parse_peer_name(peer.name)
    except InputError as error:
        raise PeerError(str(error)) from None
    if peer.public_key.low_order:
        raise PeerError(
            f"public key {peer.public_key} is a point of low order, which proves nobody's "
            "identity; make a new key pair"
        )
    if peer.private_key is not None and peer.private_key.public_key() != peer.public_key:
        raise PeerError(
            f"private key: it is not the one of the public key {peer.public_key}; "
            "give both of one pair"
        )
    try:
        for group in sorted(peer.groups):
            parse_name(group, "group")
    except InputError as error:
        raise PeerError(str(error)) from None
    if peer.endpoint is not None:
        try:
            Endpoint.parse(str(Endpoint(*peer.endpoint)))
        except InputError as error:
            raise PeerError(f"endpoint {error}") from None
    if not 0 <= peer.persistent_keepalive <= 65535:
        raise PeerError(
            f"persistent keepalive {peer.persistent_keepalive}: use 0 (off) to 65535 seconds"
        )
    if len(peer.description) > DESCRIPTION_LENGTH or not peer.description.isprintable():
        raise PeerError(
            f"description {peer.description[:20]!r}...: use one line of at most "
            f"{DESCRIPTION_LENGTH} printable characters"
        )
    if len(peer.notes) > _NOTES_LENGTH or not peer.notes.translate(_LAYOUT).isprintable():
        raise PeerError(
            f"notes {peer.notes[:20]!r}...: use at most {_NOTES_LENGTH} printable characters, in "
            "lines"
        )
    if peer.expires_at is not None and peer.expires_at.tzinfo is None:
        raise PeerError(f"expiry {peer.expires_at}: it names no time zone; give it in UTC")


def require_address(peer: Peer, old: Peer | None) -> None:
    """Refuse a peer without an address, unless it had none before; raise `PeerError`.

    `wg` and files of wg-quick may have a peer without one: with networks behind it, or nothing.
    """
    if not peer.addresses and (old is None or old.addresses):
        raise PeerError("addresses: a peer needs one; leave them out to get the next free ones")


def require_timely(peer: Peer, old: Peer | None, now: datetime) -> None:
    """Refuse a new date that has passed, and to enable who has expired; raise `PeerError`."""
    if peer.expires_at is not None and peer.expired(now):
        if old is None or peer.expires_at != old.expires_at:
            raise PeerError(
                f"expiry {utc_text(peer.expires_at)} has passed; give a later one, or disable the "
                "peer"
            )
        if peer.enabled and not old.enabled:
            require_unexpired(peer, now)


def require_unexpired(peer: Peer, now: datetime) -> None:
    """Refuse a peer that has expired; raise `PeerError`."""
    if peer.expires_at is not None and peer.expired(now):
        raise PeerError(
            f"peer {peer.name!r} expired at {utc_text(peer.expires_at)}; give it a later date "
            "to enable it"
        )
