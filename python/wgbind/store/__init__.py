"""Peers as they should be, kept in a database."""

from importlib import import_module
from typing import TYPE_CHECKING

from wgbind.store.peer import Peer, PeerChanges

if TYPE_CHECKING:
    from wgbind.store.store import Store

__all__ = ["Peer", "PeerChanges", "Store"]


def __getattr__(name: str) -> object:
    """Import the store on its first use: who only speaks of peers needs no database."""
    if name != "Store":
        raise AttributeError(f"module 'wgbind.store' has no attribute {name!r}")
    return getattr(import_module("wgbind.store.store"), name)
