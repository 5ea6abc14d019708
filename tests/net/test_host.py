"""host_view: what the host's own networks are."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from net.host import Host
from wgbind.net import host as host_module
from wgbind.net.host import host_view, resolvers


def test_networks_are_prefixes_and_routes_but_no_default_route(host: Host) -> None:
    host.link("up0", "198.18.1.2/24", "fd11:1::2/64")
    host.ip("address", "add", "198.18.9.1", "peer", "198.18.9.2/32", "dev", "up0")
    host.ip("route", "add", "default", "via", "198.18.1.1")
    host.ip("-6", "route", "add", "default", "via", "fd11:1::1")
    host.ip("route", "add", "10.20.0.0/16", "via", "198.18.1.1")
    host.ip("route", "add", "blackhole", "172.16.0.0/12")
    host.ip("route", "add", "10.30.0.0/16", "via", "198.18.1.1", "table", "1234")
    host.ip("route", "add", "0.0.0.0/1", "via", "198.18.1.1")
    host.ip("-6", "route", "add", "fd22::/48", "via", "fd11:1::1")
    networks = host.call(host_view).networks
    for expected in (
        *("198.18.1.0/24", "fd11:1::/64", "198.18.9.1/32", "198.18.9.2/32"),
        *("10.20.0.0/16", "172.16.0.0/12", "10.30.0.0/16", "fd22::/48"),
    ):
        assert ip_network(expected) in networks
    assert min(network.prefixlen for network in networks if network.version == 4) > 1
    assert min(network.prefixlen for network in networks if network.version == 6) > 1
    assert len(networks) == len(set(networks))


def test_egress_is_where_default_routes_go_the_preferred_first(host: Host) -> None:
    assert host.call(host_view).egress == ()
    host.link("six", "fd11:1::2/64")
    host.link("slow", "198.18.1.2/24")
    host.link("fast", "198.18.2.2/24", "fd11:2::2/64")
    host.link("vpn", "198.18.3.2/24")
    host.ip("route", "add", "default", "via", "198.18.1.1", "metric", "500")
    host.ip("route", "add", "default", "via", "198.18.2.1", "metric", "100")
    host.ip("-6", "route", "add", "default", "via", "fd11:2::1", "metric", "100")
    host.ip("-6", "route", "add", "default", "via", "fd11:1::1", "metric", "200")
    assert host.call(host_view).egress == ("fast", "slow", "six")
    host.ip("route", "add", "128.0.0.0/1", "via", "198.18.3.1")
    assert host.call(host_view).egress == ("vpn", "fast", "slow", "six")


def test_multipath_default_route_has_several_interfaces(host: Host) -> None:
    host.link("one", "198.18.1.2/24")
    host.link("two", "198.18.2.2/24")
    host.ip(
        *("route", "add", "default"),
        *("nexthop", "via", "198.18.1.1", "nexthop", "via", "198.18.2.1"),
    )
    assert host.call(host_view).egress == ("one", "two")


def test_addresses_are_those_towards_the_internet(host: Host) -> None:
    assert host.call(host_view).addresses == ()
    host.link("up0", "198.18.1.2/24", "198.18.1.3/24", "fd11:1::2/64")
    host.ip("route", "add", "default", "via", "198.18.1.1", "src", "198.18.1.3")
    assert host.call(host_view).addresses == (ip_address("198.18.1.3"),)
    host.ip("-6", "route", "add", "default", "via", "fd11:1::1")
    assert host.call(host_view).addresses == (
        ip_address("198.18.1.3"),
        ip_address("fd11:1::2"),
    )


def test_a_host_without_ipv6() -> None:
    with Host(ipv6=False) as host:
        host.link("up0", "198.18.1.2/24")
        host.ip("route", "add", "default", "via", "198.18.1.1")
        view = host.call(host_view)
    assert view.egress == ("up0",)
    assert view.addresses == (ip_address("198.18.1.2"),)
    assert all(network.version == 4 for network in view.networks)


def test_resolvers_are_those_that_others_can_ask(tmp_path: Path) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(
        "# comment\nsearch example.org\nnameserver 127.0.0.53\nnameserver 198.18.1.53\n"
        "nameserver fe80::1%eth0\nnameserver ::1\nnameserver fd11:1::53\nnameserver 198.18.1.53\n"
        "nameserver\nnameserver nonsense\noptions edns0\n"
    )
    assert resolvers(resolv_conf) == (ip_address("198.18.1.53"), ip_address("fd11:1::53"))
    assert resolvers(tmp_path / "missing") == ()


def test_resolvers_behind_the_stub_of_systemd(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub, behind = tmp_path / "stub", tmp_path / "behind"
    stub.write_text("nameserver 127.0.0.53\n")
    behind.write_text("nameserver 198.18.1.53\n")
    monkeypatch.setattr(host_module, "RESOLV_CONF", stub)
    monkeypatch.setattr(host_module, "RESOLVED_CONF", behind)
    assert host.call(host_view).resolvers == (ip_address("198.18.1.53"),)
    stub.write_text("nameserver 198.18.1.1\n")
    assert host.call(host_view).resolvers == (ip_address("198.18.1.1"),)
