"""Who is not a peer learns nothing, not even that somebody listens."""

import sys
from pathlib import Path

import pytest

from harness import Network, count_packets, ping, wg

SCRIPT = Path(__file__).parents[1] / "harness" / "unauthenticated.py"


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_unauthenticated_datagrams_are_never_answered(network: Network, family: str) -> None:
    hosts = network.hosts
    status = network.server.status()
    target = getattr(hosts.server_to_b, family)
    # B's own tunnel speaks to that port, too.
    own = wg(hosts.b, "show", network.b.interface, "listen-port").strip()
    match = f"udp sport {status['listen_port']} udp dport != {own}"
    with count_packets(hosts.b, match) as replies:
        result = hosts.b.run([sys.executable, str(SCRIPT), target, str(status["listen_port"])])
        assert replies() == 0
    sent, answers = map(int, result.stdout.split())
    assert sent > 400
    assert answers == 0
    drops = network.server.status()["drops"]
    assert sum(drops.values()) - sum(status["drops"].values()) >= sent // 2
    assert network.server.status()["pid"] == status["pid"]
    assert ping(hosts.a, network.ipv4).lost == 0
