"""A peer behind NAT, and what the host does to the way of packets: scenarios 13 to 16, 19, 20.

    one                            middle                          two
    wg ── vethc ──────── vethrc ── router ── vethrs ──────── veths ── wg
          192.168.1.100  192.168.1.1         10.0.0.1        10.0.0.100
                                             SNAT of 192.168.1.0/24
    192.168.241.1, fd00::1                                   192.168.241.2, fd00::2

Both programs run where their interfaces are.
"""

import time
from collections.abc import Iterator

import pytest

from harness import count_packets, ping
from netns.nat import NAT, UDP_TIMEOUT, Natted, natted

MARK = "add table ip marks; add chain ip marks out { type route hook output priority -150; };"


@pytest.fixture
def hosts() -> Iterator[Natted]:
    """The hosts of the picture, with a session."""
    with natted() as built:
        assert ping(built.one.host, "192.168.241.2", count=1).lost == 0
        yield built


def test_keepalives_hold_the_way_through_nat_open(hosts: Natted) -> None:
    one, two = hosts.one, hosts.two
    assert ping(two.host, "192.168.241.1", count=1).lost == 0
    assert two.endpoint(one) == "10.0.0.1:1"

    with count_packets(two.host, "udp sport 1") as keepalives:
        one.set_peer(two, keepalive=1)
        deadline = time.monotonic() + 60
        while keepalives() < UDP_TIMEOUT + 2:  # one at once, then one a second
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert ping(two.host, "192.168.241.1", count=1).lost == 0

    one.set_peer(two, keepalive=0)
    time.sleep(UDP_TIMEOUT + 2)  # as long as the router remembers
    assert ping(two.host, "192.168.241.1", count=1, deadline=1).received == 0


def test_a_socket_that_is_bound_to_the_interface(hosts: Natted) -> None:
    assert ping(hosts.one.host, "192.168.241.2", source=hosts.one.name).lost == 0


def test_marks_that_send_packets_another_way(hosts: Natted) -> None:
    """A packet whose mark changes on its way out is routed again; so are the tunnel's own."""
    one = hosts.one
    one.host.run(["nft", MARK + "add rule ip marks out meta mark set 1"])
    assert ping(one.host, "192.168.241.2").lost == 0
    assert ping(one.host, "192.168.241.2", source=one.name).lost == 0


def test_policy_routing_by_fwmark(hosts: Natted) -> None:
    """What `wg-quick` sets up for a default route: all but marked packets goes into the tunnel."""
    one, two = hosts.one, hosts.two
    one.host.add_address("vethc", "fc00::9/96")
    one.host.ip("-6", "route", "add", "default", "via", "fc00::1")
    two.up("192.168.99.7/32", "abab::1111/128")
    one.set("fwmark", "51820")
    one.set_peer(two, "192.168.99.7/32", "abab::1111/128")
    for version in ("-4", "-6"):
        one.host.ip(version, "route", "add", "default", "dev", one.name, "table", "51820")
        rule = ("not", "fwmark", "51820", "table", "51820")
        one.host.ip(version, "rule", "add", *rule)
        one.host.ip(version, "rule", "add", "table", "main", "suppress_prefixlength", "0")
    for scope in ("all", "vethc"):
        one.host.sysctl(f"net.ipv4.conf.{scope}.rp_filter", "0")
    for address in ("192.168.99.7", "abab::1111"):
        assert ping(one.host, address, count=100, interval=0.002).lost == 0


def test_an_unreachable_peer_is_told(hosts: Natted) -> None:
    """Who is behind two and asks for a peer that is gone hears of it.

    router ── 10.0.0.0/24 ── two, SNAT to 192.168.241.2 ── wg ── (no peer)
    """
    one, two, router = hosts.one, hosts.two, hosts.router
    snat = "add rule ip nat post ip saddr 10.0.0.0/24 ip daddr 192.168.241.0/24"
    two.host.run(["nft", f"{NAT}{snat} snat to 192.168.241.2"])
    two.host.sysctl("net.ipv4.ip_forward", "1")
    router.ip("route", "add", "192.168.241.1", "via", "10.0.0.100")
    assert ping(router, "192.168.241.1", count=1).lost == 0
    two.remove_peer(one)
    command = ["ping", "-n", "-c", "1", "-W", "30", "192.168.241.1"]
    assert "Destination Host Unreachable" in router.run(command, check=False).stdout
