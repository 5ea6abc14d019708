"""A server's state as Prometheus reads it (the text format 0.0.4 of prometheus.io).

Peers' metrics and their labels have the names that exporters for WireGuard use, so that dashboards
made for those show a server of wgbind, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from wgbind._native import __version__
from wgbind.api.status import PeerState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from wgbind.api.firewall import RuleReport
    from wgbind.api.status import PeerReport, ServerStatus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PEER = ("interface", "public_key", "friendly_name")
_INTERFACE = ("interface",)


def exposition(status: ServerStatus) -> bytes:
    """Write a server's state in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Status(status))
    return generate_latest(registry)


class _Status(Collector):
    def __init__(self, status: ServerStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        yield from self._server()
        yield from self._device()
        yield from self._firewall()
        yield from self._peers()

    def _server(self) -> Iterator[Metric]:
        status = self._status
        info = InfoMetricFamily("wgbind", "Version and key of the server.", labels=_INTERFACE)
        key = str(status.public_key)
        info.add_metric([status.name], {"version": __version__, "public_key": key})
        yield info
        if status.started_at is not None:
            started = GaugeMetricFamily(
                "wgbind_start_time_seconds", "Unix time of the server's start.", labels=_INTERFACE
            )
            started.add_metric([status.name], status.started_at.timestamp())
            yield started
        problems = GaugeMetricFamily(
            "wgbind_problems", "What the host refused so far; it is tried again.", labels=_INTERFACE
        )
        problems.add_metric([status.name], len(status.problems))
        yield problems
        states = GaugeMetricFamily("wgbind_peers", "Peers by state.", labels=(*_INTERFACE, "state"))
        found = [peer.state for peer in status.peers]
        for state in get_args(PeerState):
            states.add_metric([status.name, state], found.count(state))
        yield states

    def _device(self) -> Iterator[Metric]:
        status = self._status
        cpu = CounterMetricFamily(
            "wgbind_data_path_cpu_seconds", "CPU time of the worker threads.", labels=_INTERFACE
        )
        cpu.add_metric([status.name], status.data_path_cpu_seconds)
        yield cpu
        drops = CounterMetricFamily(
            "wgbind_device_drops",
            "Packets and datagrams that the device dropped.",
            labels=(*_INTERFACE, "reason"),
        )
        for reason, count in status.drops.items():
            drops.add_metric([status.name, reason], count)
        yield drops
        handshakes = CounterMetricFamily(
            "wgbind_handshakes",
            "Handshake messages that were sent, and handshakes that were completed.",
            labels=(*_INTERFACE, "kind"),
        )
        for kind, count in status.handshakes.items():
            if kind != "queued":
                handshakes.add_metric([status.name, kind], count)
        yield handshakes
        queued = GaugeMetricFamily(
            "wgbind_handshake_queue", "Initiations that wait for their answer.", labels=_INTERFACE
        )
        queued.add_metric([status.name], status.handshakes.get("queued", 0))
        yield queued

    def _firewall(self) -> Iterator[Metric]:
        status = self._status
        refused = CounterMetricFamily(
            "wgbind_firewall_refused_packets",
            "Packets that the firewall dropped though no rule denied them.",
            labels=(*_INTERFACE, "reason"),
        )
        for reason, count in status.refused.items():
            refused.add_metric([status.name, reason], count)
        yield refused
        labels = (*_INTERFACE, "rule")
        packets = CounterMetricFamily(
            "wgbind_firewall_rule_packets", "Packets that a rule decided.", labels=labels
        )
        size = CounterMetricFamily(
            "wgbind_firewall_rule_bytes", "Bytes of the packets that a rule decided.", labels=labels
        )
        # The same rule twice has one counter, and Prometheus wants a series once.
        rules: dict[str, RuleReport] = {}
        for rule in (*status.rules, *status.forwards):
            rules.setdefault(rule.text, rule)
        for text, rule in rules.items():
            packets.add_metric([status.name, text], rule.packets or 0)
            size.add_metric([status.name, text], rule.bytes or 0)
        yield packets
        yield size

    def _peers(self) -> Iterator[Metric]:
        received = CounterMetricFamily(
            "wireguard_received_bytes", "Bytes received from the peer.", labels=_PEER
        )
        sent = CounterMetricFamily("wireguard_sent_bytes", "Bytes sent to the peer.", labels=_PEER)
        handshake = GaugeMetricFamily(
            "wireguard_latest_handshake_seconds",
            "Unix time of the peer's last handshake, 0 before the first one.",
            labels=_PEER,
        )
        state = GaugeMetricFamily(
            "wgbind_peer_connected", "1 if the peer has a session that lives, else 0.", labels=_PEER
        )
        for peer in self._status.peers:
            labels = self._labels(peer)
            received.add_metric(labels, peer.total_rx_bytes)
            sent.add_metric(labels, peer.total_tx_bytes)
            last = peer.last_handshake
            handshake.add_metric(labels, 0 if last is None else last.timestamp())
            state.add_metric(labels, peer.state == "connected")
        yield from (received, sent, handshake, state)

    def _labels(self, peer: PeerReport) -> tuple[str, str, str]:
        return self._status.name, str(peer.public_key), peer.name or ""
