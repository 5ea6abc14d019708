"""What Prometheus reads of a server, and that the dashboard asks for nothing else."""

import json
import re
from datetime import datetime, timezone
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from wgbind import PrivateKey
from wgbind.api.firewall import RuleReport
from wgbind.api.metrics import exposition
from wgbind.api.status import PeerReport, ServerStatus

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana-dashboard.json"

KEYS = [PrivateKey.generate().public_key() for _ in range(3)]
SEEN = datetime(2026, 3, 1, 9, 30, tzinfo=timezone.utc)


def peer(number: int, name: str | None, **fields: object) -> PeerReport:
    return PeerReport.model_validate(
        {
            "name": name,
            "public_key": KEYS[number],
            "has_preshared_key": True,
            "allowed_ips": ("10.0.0.2/32",),
            "persistent_keepalive": 0,
            "endpoint": None,
            "state": "never",
            **fields,
        }
    )


STATUS = ServerStatus(
    name="wg0",
    state="running",
    pid=1,
    started_at=SEEN,
    public_key=KEYS[0],
    addresses=(),
    listen_port=51820,
    mtu=1420,
    endpoint=None,
    preset=("gateway",),
    meaning="",
    egress=(),
    peers=(
        peer(
            0,
            'a "quoted\\" name',
            state="connected",
            total_rx_bytes=7,
            total_tx_bytes=9,
            last_handshake=SEEN,
        ),
        peer(1, None),
        peer(2, "off", state="disabled"),
    ),
    drops={"mac1": 3},
    handshakes={"answered": 5, "completed": 4, "queued": 2},
    data_path_cpu_seconds=1.25,
    rules=(RuleReport(number=1, text="allow peers -> any", packets=11, bytes=12),) * 2,
    refused={"spoofed": 6},
    problems=("one",),
)


LABELS = ("friendly_name", "state", "reason", "kind", "rule")


def samples() -> dict[tuple[str, str], float]:
    """Return each sample by its name and the label that tells it from others of that name."""
    families = text_string_to_metric_families(exposition(STATUS).decode())
    return {
        (sample.name, next(filter(None, map(sample.labels.get, LABELS)), "")): sample.value
        for family in families
        for sample in family.samples
    }


def test_samples() -> None:
    found = samples()
    name = 'a "quoted\\" name'
    assert found["wireguard_received_bytes_total", name] == 7
    assert found["wireguard_sent_bytes_total", name] == 9
    assert found["wireguard_latest_handshake_seconds", name] == SEEN.timestamp()
    assert found["wireguard_latest_handshake_seconds", ""] == 0
    assert found["wgbind_peer_connected", name] == 1
    assert found["wgbind_peer_connected", "off"] == 0
    assert found["wgbind_peers", "connected"] == found["wgbind_peers", "disabled"] == 1
    assert found["wgbind_peers", "idle"] == 0
    assert found["wgbind_device_drops_total", "mac1"] == 3
    assert found["wgbind_handshakes_total", "answered"] == 5
    assert ("wgbind_handshakes_total", "queued") not in found
    assert found["wgbind_handshake_queue", ""] == 2
    assert found["wgbind_data_path_cpu_seconds_total", ""] == 1.25
    assert found["wgbind_firewall_rule_packets_total", "allow peers -> any"] == 11
    assert found["wgbind_firewall_refused_packets_total", "spoofed"] == 6
    assert found["wgbind_problems", ""] == 1


def test_a_series_comes_once() -> None:
    lines = [line for line in exposition(STATUS).decode().splitlines() if line[0] != "#"]
    series = [line.rpartition(" ")[0] for line in lines]
    assert len(series) == len(set(series))


def test_dashboard_asks_for_what_there_is() -> None:
    names = {name for name, _ in samples()} | {"wgbind_info"}
    asked = set(re.findall(r"\b(?:wgbind|wireguard)_\w+", DASHBOARD.read_text()))
    assert asked
    assert asked <= names
    json.loads(DASHBOARD.read_text())
