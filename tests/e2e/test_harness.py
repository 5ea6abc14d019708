"""The harness itself: what the other tests stand on has to hold."""

import subprocess

from harness import (
    Namespace,
    Topology,
    count_packets,
    interface_name,
    iperf3,
    leftovers,
    ping,
    udp_stream,
    wait_until,
    wg,
    wireguard_go,
)


def test_hosts_reach_their_neighbours_and_nobody_else(topology: Topology) -> None:
    hosts = topology
    assert ping(hosts.a, hosts.server_to_a.ipv4).lost == 0
    assert ping(hosts.a, hosts.server_to_a.ipv6).lost == 0
    assert ping(hosts.server, hosts.lan_host.ipv4).lost == 0
    assert ping(hosts.server, hosts.lan_host.ipv6).lost == 0
    assert ping(hosts.a, hosts.lan_host.ipv4, count=1, deadline=1).received == 0
    assert iperf3(hosts.a, hosts.server, hosts.server_to_a.ipv4).bits_per_second() > 1e6


def test_udp_stream_counts_what_is_lost(topology: Topology) -> None:
    hosts = topology
    with count_packets(hosts.server, "udp dport 7007") as seen:
        stream = udp_stream(hosts.a, hosts.server, hosts.server_to_a.ipv4, rate=200)
        wait_until(lambda: seen() > 20, "datagrams")
        sent, lost = stream.stop()
        assert sent > 20
        assert lost == []
        stream = udp_stream(hosts.a, hosts.server, hosts.server_to_a.ipv6, rate=200)
        hosts.server.run(
            [
                "nft",
                "add table ip6 hole; add chain ip6 hole in "
                "{ type filter hook input priority 0; policy drop; }",
            ]
        )
        before = seen()
        wait_until(lambda: seen() > before + 1, "a datagram that is dropped")
        sent, lost = stream.stop()
        assert 0 < len(lost) <= sent


def test_wireguard_go_answers_wg() -> None:
    with Namespace("go") as namespace:
        go = wireguard_go(namespace)
        wg(namespace, "set", go.interface, "listen-port", "51820")
        assert wg(namespace, "show", go.interface, "listen-port").strip() == "51820"
        go.stop()
        assert go.interface not in namespace.interfaces()


def test_namespace_ends_its_processes_and_itself() -> None:
    with Namespace() as namespace:
        stubborn = namespace.popen(
            ["bash", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]
        )
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        namespace.ip("tuntap", "add", interface_name(), "mode", "tun")
    assert stubborn.wait(5) == -9
    assert subprocess.run(["ip", "-n", namespace.name, "link"], capture_output=True).returncode


def test_leftovers_are_seen() -> None:
    with Namespace() as namespace:
        assert f"namespace {namespace.name}" in leftovers()
    assert leftovers() == []
