"""One peer as it should be: what the store keeps and the device is told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, TypedDict

from wgbind.errors import InputError, PeerError
from wgbind.settings.address import Endpoint
from wgbind.settings.client import ClientOverrides
from wgbind.settings.reference import parse_name

if TYPE_CHECKING:
    from datetime import datetime

    from wgbind.keys import PresharedKey, PrivateKey, PublicKey
    from wgbind.settings.address import Address, Network

# No "=" and no "/": a name is never mistaken for a key in base64.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.@+-]{0,62}")


@dataclass(frozen=True)
class Peer:
    """A peer of one server.

    The rules of the server's settings speak of its `groups`. `endpoint` is where to send before
    the peer was heard: a host name or address, and a port. `persistent_keepalive` is this server's
    own, in seconds; 0 is off. `private_key` is there only if the settings say that clients' keys
    are stored. `created_at` is in UTC. `client` is what its own configuration
    says other than those of the others.
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

    @property
    def allowed_ips(self) -> tuple[Network, ...]:
        """What the device accepts from the peer and sends to it: its addresses and networks."""
        return (*map(ip_network, self.addresses), *self.routed_networks)


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


def require_valid(peer: Peer) -> None:
    """Refuse a peer that is wrong by itself, whoever else there is; raise `PeerError`."""
    if _NAME.fullmatch(peer.name) is None:
        raise PeerError(
            f"peer name {peer.name!r}: use 1 to 63 of the characters a-z A-Z 0-9 _ . @ + - "
            "and begin with a letter or digit"
        )
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
    if not peer.addresses:
        raise PeerError("addresses: a peer needs one; leave them out to get the next free ones")
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
