"""Whoever sends to an address that no peer is behind hears so, from the server or through it."""

import re

from harness import Network

HEARD = {
    "ipv4": r"From ({address}) icmp_seq=\d+ Destination Host Unreachable",
    "ipv6": r"From ({address}) icmp_seq=\d+ Destination unreachable: Address unreachable",
}


def test_absent_addresses_are_told_of(network: Network) -> None:
    network.server.peer("add", "absent")
    before = network.server.status()
    (absent,) = (peer for peer in before["peers"] if peer["name"] == "absent")
    for allowed_ip in absent["allowed_ips"]:
        of_peer = allowed_ip.partition("/")[0]
        family = "ipv6" if ":" in of_peer else "ipv4"
        dot, of_nobody = (":", "fffe") if family == "ipv6" else (".", "250")
        for address in (of_peer, of_peer.rpartition(dot)[0] + dot + of_nobody):
            for namespace in (network.hosts.server, network.hosts.a):
                argv = ["ping", "-n", "-c", "1", "-W", "30", address]
                told = namespace.run(argv, check=False).stdout
                assert re.search(HEARD[family].format(address=re.escape(address)), told), told
    after = network.server.status()
    for reason in ("no_endpoint", "no_peer"):
        assert after["drops"][reason] >= before["drops"][reason] + 4, reason


def test_handshakes_are_counted(network: Network) -> None:
    counts = network.server.status()["handshakes"]
    assert counts["completed"] >= 2, counts
    assert counts["answered"] + counts["initiated"] >= counts["completed"]
    assert counts["queued"] == 0
