"""A thousand peers come, hundreds change and go, and who transfers meanwhile loses nothing."""

from pathlib import Path

import pytest

from harness import Network, udp_stream
from harness.provisioning import CHANGED, KEPT, WAYS


@pytest.mark.parametrize("way", WAYS)
def test_no_packet_is_lost_to_a_thousand_changes(
    network: Network, tmp_path: Path, way: str
) -> None:
    hosts, server = network.hosts, network.server
    handshake = network.a.settled_handshake()
    stream = udp_stream(hosts.a, hosts.server, network.ipv4)
    WAYS[way](network, tmp_path)
    stream.assert_nothing_lost()
    assert network.a.latest_handshake() >= handshake
    peers = {peer["name"]: peer for peer in server.peers()}
    ours = {name for name in peers if name not in {"a", "b"}}
    assert len(ours) == CHANGED
    assert {peers[name]["description"] for name in ours} == {"changed"}
    server.peer("remove", "--match", f"{KEPT}*", "--yes")
