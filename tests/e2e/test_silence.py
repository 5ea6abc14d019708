"""Who is not a peer learns nothing, not even that somebody listens."""

import sys
from pathlib import Path

import pytest

from harness import Network, count_packets, ping

SCRIPT = Path(__file__).parents[1] / "harness" / "unauthenticated.py"


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_unauthenticated_datagrams_are_never_answered(network: Network, family: str) -> None:
    hosts = network.hosts
    status = network.server.status()
    target = getattr(hosts.server_to_b, family)
    with count_packets(hosts.b, f"udp sport {status['listen_port']}") as replies:
        # B's own tunnel would speak to that port too.
        hosts.b.ip("link", "set", network.b.interface, "down")
        result = hosts.b.run([sys.executable, str(SCRIPT), target, str(status["listen_port"])])
        assert replies() == 0
        hosts.b.ip("link", "set", network.b.interface, "up")
    sent, answers = map(int, result.stdout.split())
    assert sent > 400
    assert answers == 0
    drops = network.server.status()["drops"]
    assert sum(drops.values()) - sum(status["drops"].values()) >= sent // 2
    assert network.server.status()["pid"] == status["pid"]
    assert ping(hosts.a, network.ipv4).lost == 0
