"""What one peer's own configuration says; pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, TypeVar

from wgbind.errors import InputError
from wgbind.settings.client import FULL
from wgbind.settings.prefixes import subtract
from wgbind.settings.wg_quick import ClientConfiguration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wgbind.keys import PublicKey
    from wgbind.settings.address import Endpoint, Network
    from wgbind.settings.client import ClientOverrides
    from wgbind.settings.model import ServerSettings
    from wgbind.store.peer import Peer

    T = TypeVar("T")

EVERYTHING: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def client_configuration(
    settings: ServerSettings,
    public_key: PublicKey,
    endpoint: Endpoint | None,
    peer: Peer,
    peers: Iterable[Peer],
) -> ClientConfiguration:
    """Write down what a peer has to know; it holds its secrets.

    What the store says of the peer comes first, then what the settings say of its groups, in the
    order of `policy.groups`, then what they say of all.

    Args:
        settings: The server's.
        public_key: Likewise.
        endpoint: Where clients reach it, if that is known.
        peer: Whose configuration it is.
        peers: All peers of the server.

    Raises `InputError` if the excluded networks leave nothing of the allowed ones.
    """
    said = _said(settings, peer)
    client = settings.client
    return ClientConfiguration(
        private_key=peer.private_key,
        addresses=peer.addresses,
        dns=_first((each.dns for each in said), client.dns),
        mtu=_first((each.mtu for each in said), client.mtu),
        public_key=public_key,
        preshared_key=peer.preshared_key,
        endpoint=endpoint,
        allowed_ips=reached(settings, endpoint, peer, peers),
        persistent_keepalive=_first(
            (each.persistent_keepalive for each in said), client.persistent_keepalive
        ),
    )


def reached(
    settings: ServerSettings, endpoint: Endpoint | None, peer: Peer, peers: Iterable[Peer]
) -> tuple[Network, ...]:
    """Return what a peer reaches through the tunnel; arguments and errors as above."""
    said = _said(settings, peer)
    excluded = _first((each.excluded_ips for each in said), settings.client.excluded_ips)
    allowed = _first((each.allowed_ips for each in said), settings.client.allowed_ips)
    if allowed == FULL and any(network.prefixlen == 0 for network in peer.routed_networks):
        # It is the others' way to the internet: what it would send us, we would send it back.
        allowed = peer.client.allowed_ips or "split"
    if isinstance(allowed, tuple):
        networks = allowed
    else:
        networks = EVERYTHING if allowed == FULL else _split(settings, peer, peers)
    return _without(networks, excluded, endpoint, peer.name)


def _said(settings: ServerSettings, peer: Peer) -> list[ClientOverrides]:
    groups = settings.client.groups
    joined = (group for group in settings.policy.groups if group in peer.groups)
    return [peer.client, *(groups[group] for group in joined if group in groups)]


def _first(values: Iterable[T | None], default: T) -> T:
    return next((value for value in values if value is not None), default)


def _split(settings: ServerSettings, peer: Peer, peers: Iterable[Peer]) -> tuple[Network, ...]:
    """What is the server's: the tunnel, what is behind the others, and what the policy names."""
    networks = [address.network for address in settings.interface.addresses]
    networks += [
        network
        for other in peers
        if other.public_key != peer.public_key
        for network in other.routed_networks
        if network.prefixlen > 0
    ]
    networks += [
        prefix for network in settings.policy.networks.values() for prefix in network.prefixes
    ]
    return subtract(networks, (each for each in peer.routed_networks if each.prefixlen > 0))


def _without(
    allowed: tuple[Network, ...],
    excluded: tuple[Network, ...],
    endpoint: Endpoint | None,
    name: str,
) -> tuple[Network, ...]:
    left = subtract(allowed, excluded) if excluded else allowed
    hole = _address(endpoint)
    if hole is not None and any(
        network.version == hole.version and network.prefixlen > 0 and network.overlaps(hole)
        for network in left
    ):
        # A client takes care of its server's address only where it routes everything (wg-quick(8)).
        left = subtract(left, [hole])
    if not left:
        raise InputError(
            f"peer {name}: excluded_ips leave nothing of allowed_ips; exclude less, for the peer "
            "or in the settings"
        )
    return left


def _address(endpoint: Endpoint | None) -> Network | None:
    """The endpoint, if it is an address; where a name leads is for the client to find out."""
    try:
        return None if endpoint is None else ip_network(ip_address(endpoint.host))
    except ValueError:
        return None
