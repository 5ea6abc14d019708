"""The status of a server, put together from its parts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from wgbind.api.status import PeerReport, ServerStatus
from wgbind.firewall.policy import meaning
from wgbind.net.host import host_view
from wgbind.server.advertised import advertise, egress
from wgbind.server.surroundings import Surroundings
from wgbind.settings.address import Endpoint
from wgbind.store.history import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wgbind._native import DeviceStatus, PeerStatus
    from wgbind.api.firewall import FirewallReport
    from wgbind.api.status import PeerState
    from wgbind.server.configuration import Configuration
    from wgbind.settings.model import ServerSettings
    from wgbind.store.history import History
    from wgbind.store.peer import Peer


# A session lives so long after its handshake (the WireGuard paper, section 6.1).
REJECT_AFTER_TIME = timedelta(seconds=180)


@dataclass(frozen=True)
class Running:
    """What only a running server has."""

    pid: int
    started_at: datetime
    device: DeviceStatus
    firewall: FirewallReport
    problems: Sequence[str]


def report(
    name: str,
    configuration: Configuration,
    peers: Sequence[tuple[Peer, History]],
    running: Running | None,
) -> ServerStatus:
    """Describe the server `name`; `running` is None if it is stopped.

    Its peers are those of the store, by name, with what they did, and after them those that only
    the device has.
    """
    settings = configuration.settings
    host = host_view(settings.fwmark)
    listen_port = settings.interface.listen_port
    if running is not None:
        listen_port = running.device.listen_port
    advertised = advertise(settings, listen_port, host)
    found = [] if running is None else running.device.peers
    status = ServerStatus(
        name=name,
        state="stopped",
        public_key=configuration.private_key.public_key(),
        addresses=settings.interface.addresses,
        listen_port=listen_port,
        mtu=settings.interface.mtu,
        endpoint=None if advertised.endpoint is None else str(advertised.endpoint),
        endpoint_remark=advertised.remark,
        preset=settings.policy.preset,
        meaning=meaning(settings.policy),
        egress=egress(settings, host) or (),
        peers=tuple(_peer_reports(peers, found, settings)),
    )
    if running is None:
        return status
    return status.model_copy(
        update={
            "state": "running",
            "pid": running.pid,
            "started_at": running.started_at,
            "public_key": running.device.public_key or status.public_key,
            "mtu": running.device.mtu,
            "features": running.device.features,
            "drops": running.device.drops,
            "handshakes": running.device.handshakes,
            "data_path_cpu_seconds": running.device.cpu_seconds,
            "rules": running.firewall.rules,
            "forwards": running.firewall.forwards,
            "refused": running.firewall.refused,
            "problems": tuple(running.problems),
        }
    )


def _peer_reports(
    stored: Sequence[tuple[Peer, History]], found: Sequence[PeerStatus], settings: ServerSettings
) -> Iterable[PeerReport]:
    own = [address.network for address in settings.interface.addresses]
    rest = {peer.public_key: peer for peer in found}
    surroundings = Surroundings(own, (peer for peer, _ in stored if peer.public_key in rest))
    for peer, history in stored:
        status = rest.pop(peer.public_key, None)
        if status is None:
            yield stored_peer_report(peer, history)
        else:
            yield _found(peer, history, status, surroundings)
    for status in rest.values():
        yield _found(None, NONE, status, surroundings)


def stored_peer_report(peer: Peer, history: History = NONE) -> PeerReport:
    """Describe a peer that no device has, as it is configured."""
    return PeerReport(
        name=peer.name,
        public_key=peer.public_key,
        has_preshared_key=peer.preshared_key is not None,
        allowed_ips=tuple(str(network) for network in peer.allowed_ips),
        persistent_keepalive=peer.persistent_keepalive,
        endpoint=None if peer.endpoint is None else str(Endpoint(*peer.endpoint)),
        groups=tuple(sorted(peer.groups)),
        state=_state(peer, None),
        description=peer.description,
        enabled=peer.enabled,
        expires_at=peer.expires_at,
        created_at=peer.created_at,
        notes=peer.notes,
        total_rx_bytes=history.rx_bytes,
        total_tx_bytes=history.tx_bytes,
        last_seen=history.last_seen,
    )


def _found(
    peer: Peer | None, history: History, status: PeerStatus, surroundings: Surroundings
) -> PeerReport:
    allowed_ips = tuple(status.allowed_ips)
    if peer is not None:
        given = surroundings.given(peer)
        if given is not peer and set(allowed_ips) == set(map(str, given.allowed_ips)):
            allowed_ips = tuple(map(str, peer.allowed_ips))
    handshake = None
    if status.last_handshake is not None:
        handshake = datetime.fromtimestamp(status.last_handshake, timezone.utc)
    report = PeerReport(
        name=None,
        public_key=status.public_key,
        has_preshared_key=status.has_preshared_key,
        allowed_ips=allowed_ips,
        persistent_keepalive=status.persistent_keepalive,
        endpoint=None if status.endpoint is None else str(Endpoint(*status.endpoint)),
        last_handshake=handshake,
        rx_bytes=status.rx_bytes,
        tx_bytes=status.tx_bytes,
        state=_state(peer, handshake),
    )
    if peer is None:
        return report
    return report.model_copy(
        update={
            "name": peer.name,
            "groups": tuple(sorted(peer.groups)),
            "description": peer.description,
            "enabled": peer.enabled,
            "expires_at": peer.expires_at,
            "created_at": peer.created_at,
            "notes": peer.notes,
            "total_rx_bytes": history.rx_bytes,
            "total_tx_bytes": history.tx_bytes,
            "last_seen": history.last_seen,
        }
    )


def _state(peer: Peer | None, handshake: datetime | None) -> PeerState:
    now = datetime.now(timezone.utc)
    if peer is not None and not peer.served(now):
        return "expired" if peer.enabled else "disabled"
    if handshake is None:
        return "never"
    return "connected" if now - handshake < REJECT_AFTER_TIME else "idle"
