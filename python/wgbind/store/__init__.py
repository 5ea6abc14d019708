"""Peers as they should be, kept in a database."""

from wgbind.store.peer import Peer, PeerChanges
from wgbind.store.store import Store

__all__ = ["Peer", "PeerChanges", "Store"]
