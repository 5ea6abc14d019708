"""What a peer transferred and when it was seen last: over restarts, new keys and kills."""

import re
from pathlib import Path
from typing import Any

from harness import Network, ping, wg


def transfer(network: Network) -> dict[str, Any]:
    """Let B send and receive; return its status when all of that is counted."""
    assert ping(network.hosts.b, network.ipv4, count=20, interval=0.02, size=1000).received > 0
    return network.server.peer_status("b")


def reconnect(network: Network, configuration: Path | None = None) -> None:
    """Let B forget its session, and take another configuration."""
    interface = network.b.interface
    if configuration is None:
        configuration = network.server.config.with_name(f"{interface}.stripped")
    wg(network.hosts.b, "setconf", interface, str(configuration))


def since_start(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Check that all of before is in the totals, once, and all since then."""
    assert now["total_rx_bytes"] == before["total_rx_bytes"] + now["rx_bytes"]
    assert now["total_tx_bytes"] == before["total_tx_bytes"] + now["tx_bytes"]
    assert now["last_seen"] == now["last_handshake"] > before["last_seen"]


def test_totals_and_last_seen_go_on(network: Network, tmp_path: Path) -> None:
    server = network.server
    first = transfer(network)
    assert first["total_rx_bytes"] == first["rx_bytes"] > 10_000
    assert first["total_tx_bytes"] == first["tx_bytes"] > 10_000
    assert first["last_seen"] == first["last_handshake"]
    assert server.peer_status("a")["total_tx_bytes"] < first["total_tx_bytes"]

    # A clean stop loses nothing.
    silence(network)
    first = server.peer_status("b")
    server.stop()
    stopped = server.peer_status("b")
    assert (stopped["state"], stopped["rx_bytes"]) == ("never", None)
    nothing_lost(first, stopped)
    server.start()
    reconnect(network)
    since_start(stopped, transfer(network))

    # Nor does a peer that leaves the device.
    silence(network)
    second = server.peer_status("b")
    server.peer("disable", "b")
    disabled = server.peer_status("b")
    nothing_lost(second, disabled)
    server.peer("enable", "b")
    reconnect(network)
    since_start(disabled, transfer(network))

    silence(network)
    third = server.peer_status("b")
    rotated = server.peer("rotate", "b", "--no-qr").stdout
    after = server.peer_status("b")
    nothing_lost(third, after)
    assert after["public_key"] != third["public_key"]
    configuration = tmp_path / "rotated.conf"
    configuration.touch(0o600)
    configuration.write_text(re.sub("(?m)^(Address|DNS|MTU) .*\n", "", rotated))
    reconnect(network, configuration)
    fourth = transfer(network)
    since_start(after, fourth)

    # A kill loses what is new, and counts nothing twice.
    server.kill()
    server.start()
    killed = server.peer_status("b")
    assert stopped["total_rx_bytes"] <= killed["total_rx_bytes"] <= fourth["total_rx_bytes"] + 1000
    assert killed["last_seen"] >= stopped["last_seen"]
    server.peer("remove", "b")
    server.add_peer("b")
    anew = server.peer_status("b")
    assert (anew["total_rx_bytes"], anew["total_tx_bytes"], anew["last_seen"]) == (0, 0, None)


def nothing_lost(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Check that all is known still; the server may have sent to a client that is silent."""
    assert after["total_rx_bytes"] == before["total_rx_bytes"]
    assert after["total_tx_bytes"] >= before["total_tx_bytes"]
    assert after["last_seen"] == before["last_seen"]


def silence(network: Network) -> None:
    """Let B send nothing more, by itself either, until it reconnects."""
    wg(network.hosts.b, "set", network.b.interface, "private-key", "/dev/null")
