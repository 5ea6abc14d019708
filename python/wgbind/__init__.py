"""A WireGuard server that you install with pip.

`Server` is the whole of it: settings, peers, addresses, routes, firewall and the
data plane. `Device` is the data plane alone. Names are imported when they are
first used, so that `import wgbind` and `wgbind --version` stay quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wgbind._native import (
        Device,
        DeviceStatus,
        Event,
        PeerChange,
        PeerStatus,
        PresharedKey,
        PrivateKey,
        PublicKey,
        __version__,
    )
    from wgbind.api.change import NewPeer, Transaction
    from wgbind.api.connect import connect, connect_async
    from wgbind.api.event import PeerEvent
    from wgbind.api.firewall import (
        ExplanationReport,
        FindingReport,
        FirewallReport,
        PlanReport,
    )
    from wgbind.api.handle import ServerHandle
    from wgbind.api.peers import Peers
    from wgbind.api.remote import RemoteServer
    from wgbind.api.remote_async import AsyncPeers, AsyncServer
    from wgbind.api.status import PeerReport, ServerInfo, ServerStatus
    from wgbind.apply.document import Document
    from wgbind.apply.report import Applied, ApplyPlan
    from wgbind.errors import (
        ConflictError,
        DeviceError,
        FirewallError,
        InputError,
        KeyFormatError,
        NetworkError,
        NotFoundError,
        PeerError,
        PrivilegeError,
        SettingsError,
        StateError,
        StoreError,
        WgbindError,
    )
    from wgbind.server.server import Server
    from wgbind.store.peer import Peer

__all__ = [
    "Applied",
    "ApplyPlan",
    "AsyncPeers",
    "AsyncServer",
    "ConflictError",
    "Device",
    "DeviceError",
    "DeviceStatus",
    "Document",
    "Event",
    "ExplanationReport",
    "FindingReport",
    "FirewallError",
    "FirewallReport",
    "InputError",
    "KeyFormatError",
    "NetworkError",
    "NewPeer",
    "NotFoundError",
    "Peer",
    "PeerChange",
    "PeerError",
    "PeerEvent",
    "PeerReport",
    "PeerStatus",
    "Peers",
    "PlanReport",
    "PresharedKey",
    "PrivateKey",
    "PrivilegeError",
    "PublicKey",
    "RemoteServer",
    "Server",
    "ServerHandle",
    "ServerInfo",
    "ServerStatus",
    "SettingsError",
    "StateError",
    "StoreError",
    "Transaction",
    "WgbindError",
    "__version__",
    "connect",
    "connect_async",
]

_HOMES = {
    "Applied": "wgbind.apply.report",
    "ApplyPlan": "wgbind.apply.report",
    "Document": "wgbind.apply.document",
    "AsyncPeers": "wgbind.api.remote_async",
    "AsyncServer": "wgbind.api.remote_async",
    "Device": "wgbind._native",
    "DeviceStatus": "wgbind._native",
    "Event": "wgbind._native",
    "ExplanationReport": "wgbind.api.firewall",
    "FindingReport": "wgbind.api.firewall",
    "FirewallReport": "wgbind.api.firewall",
    "NewPeer": "wgbind.api.change",
    "Peer": "wgbind.store.peer",
    "PeerChange": "wgbind._native",
    "PeerEvent": "wgbind.api.event",
    "PeerReport": "wgbind.api.status",
    "PeerStatus": "wgbind._native",
    "Peers": "wgbind.api.peers",
    "PlanReport": "wgbind.api.firewall",
    "PresharedKey": "wgbind._native",
    "PrivateKey": "wgbind._native",
    "PublicKey": "wgbind._native",
    "RemoteServer": "wgbind.api.remote",
    "Server": "wgbind.server.server",
    "ServerHandle": "wgbind.api.handle",
    "ServerInfo": "wgbind.api.status",
    "ServerStatus": "wgbind.api.status",
    "Transaction": "wgbind.api.change",
    "__version__": "wgbind._native",
    "connect": "wgbind.api.connect",
    "connect_async": "wgbind.api.connect",
}


def __getattr__(name: str) -> object:
    """Import a public name on its first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'wgbind' has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "wgbind.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
