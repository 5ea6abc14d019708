"""What a server is and does at one moment: the answer of `Server.status` and of the API."""

from datetime import datetime
from ipaddress import IPv4Interface, IPv6Interface
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from wgbind.api.firewall import RuleReport
from wgbind.api.wire import WirePublicKey


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


PeerState: TypeAlias = Literal["connected", "idle", "never", "disabled", "expired"]


class PeerReport(_Report):
    """One peer, as configured and as the device knows it.

    Attributes:
        name: None for a peer that the store does not know: somebody added it with `wg set`.
        groups: The groups that it is in, sorted.
        endpoint: "address:port" of its last authenticated message, or as configured.
        last_handshake: UTC; None before the first one.
        rx_bytes: Bytes of UDP payload received from it and authenticated; None if the server
            is stopped or the device does not have the peer.
        tx_bytes: Bytes of UDP payload sent to it; None likewise.
        persistent_keepalive: Seconds; 0 is off.
        state: "connected" if its session lives, "idle" if its last one is over, "never" before
            the first handshake that the device knows of; "disabled" and "expired" are not served.
        description: One line about it.
        enabled: Whether it is served until it expires.
        expires_at: UTC, when the server ceases to serve it; None is never.
        created_at: UTC; None for a peer that the store does not know.
        notes: Lines about it.
        total_rx_bytes: Bytes received from it since it was added to the store, as `rx_bytes` are
            since the server's start.
        total_tx_bytes: Bytes sent to it, likewise.
        last_seen: UTC, its last handshake, with an earlier server or other keys, too; None before
            the first one.
    """

    name: str | None
    public_key: WirePublicKey
    has_preshared_key: bool
    allowed_ips: tuple[str, ...]
    persistent_keepalive: int
    endpoint: str | None
    groups: tuple[str, ...] = ()
    last_handshake: datetime | None = None
    rx_bytes: int | None = None
    tx_bytes: int | None = None
    state: PeerState
    description: str = ""
    enabled: bool = True
    expires_at: datetime | None = None
    created_at: datetime | None = None
    notes: str = ""
    total_rx_bytes: int = 0
    total_tx_bytes: int = 0
    last_seen: datetime | None = None


class ServerStatus(_Report):
    """One server, as configured and, if it runs, as it is.

    Attributes:
        name: The interface's name.
        pid: Process that runs it; None if stopped.
        started_at: UTC; None if stopped.
        listen_port: UDP port; 0 if the system chooses one at the next start.
        endpoint: What client configurations say, "host:port"; None if it cannot be guessed.
        endpoint_remark: What to know about it: that it was guessed, that it is private.
        preset: The firewall's presets, such as "gateway".
        meaning: What they mean, in a line.
        egress: Interfaces to the internet; empty means any.
        features: What the device uses of the kernel for speed, by the names of the settings; "off"
            is switched off there, "refused" by the kernel. Empty if stopped.
        drops: Packets and datagrams that the device dropped since its start, by reason.
        handshakes: "initiated", "answered", "cookies": messages that it sent since then;
            "completed": sessions that came of them; "queued": initiations that wait now.
        data_path_cpu_seconds: CPU time of the threads that move packets.
        rules: The firewall's rules in force, the presets' too, and what they counted; empty if
            stopped.
        forwards: The forwarded ports, likewise.
        refused: Packets that the firewall dropped though no rule denied them, by reason.
        problems: What the host refused so far; it is tried again.
    """

    name: str
    state: Literal["running", "stopped"]
    pid: int | None = None
    started_at: datetime | None = None
    public_key: WirePublicKey
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    listen_port: int
    mtu: int
    endpoint: str | None
    endpoint_remark: str | None = None
    preset: tuple[str, ...]
    meaning: str
    egress: tuple[str, ...]
    peers: tuple[PeerReport, ...]
    features: dict[str, Literal["on", "off", "refused"]] = {}
    drops: dict[str, int] = {}
    handshakes: dict[str, int] = {}
    data_path_cpu_seconds: float = 0.0
    rules: tuple[RuleReport, ...] = ()
    forwards: tuple[RuleReport, ...] = ()
    refused: dict[str, int] = {}
    problems: tuple[str, ...] = ()


class ServerInfo(_Report):
    """Who answers.

    Attributes:
        name: The interface's name.
        version: Of wgbind.
        groups: Names of groups that the settings name.
        endpoint: What client configurations say, "host:port"; None if it cannot be guessed.
        endpoint_remark: What to know about it: that it was guessed, that it is private.
    """

    name: str
    version: str
    groups: tuple[str, ...]
    endpoint: str | None
    endpoint_remark: str | None
