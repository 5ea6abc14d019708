"""Peers as the store returns them, for what takes such peers."""

from datetime import datetime, timezone
from ipaddress import ip_address

from wgbind.keys import PrivateKey
from wgbind.store.peer import Peer


def make_peer(number: int, *groups: str) -> Peer:
    """Make a peer with a new key and with addresses 10.0.0.NUMBER and fd00::NUMBER."""
    return Peer(
        server="wg0",
        name=f"p{number}",
        public_key=PrivateKey.generate().public_key(),
        preshared_key=None,
        addresses=(ip_address("10.0.0.0") + number, ip_address("fd00::") + number),
        routed_networks=(),
        groups=frozenset(groups),
        endpoint=None,
        persistent_keepalive=0,
        private_key=None,
        created_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
    )
