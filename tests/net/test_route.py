"""converge_routes, on real interfaces."""

from ipaddress import ip_address, ip_network

import pytest

from harness import interface_name
from net.host import Host
from wgbind.errors import ConflictError, NetworkError
from wgbind.net.interface import converge_interface
from wgbind.net.route import Route, change_routes, converge_routes, remove_routes
from wgbind.settings.address import parse_interface_address

ADDRESSES = (parse_interface_address("10.77.0.1/24"), parse_interface_address("fd77::1/64"))
BEHIND = ("10.90.0.0/16", "192.0.2.1/32", "fd90::/48")
OWN = range(70000, 70010)
DEFAULTS = ("0.0.0.0/0", "::/0")


@pytest.fixture
def tun(host: Host) -> str:
    name = interface_name()
    host.ip("tuntap", "add", name, "mode", "tun")
    host.call(converge_interface, name, ADDRESSES, 1420)
    return name


def into(tun: str, *prefixes: str, table: int = 254, metric: int | None = None) -> list[Route]:
    return [Route(ip_network(each), tun, table=table, metric=metric) for each in prefixes]


def routes(host: Host, *selector: str) -> set[str]:
    return {
        f"{route['dst']} {route['metric']}" if "metric" in route else route["dst"]
        for family in ("-4", "-6")
        for route in host.ip_json(family, "route", "show", *selector, "proto", "87")
    }


def test_routes_lead_to_what_is_behind_peers(host: Host, tun: str) -> None:
    assert len(host.call(converge_routes, tun, into(tun, *BEHIND))) == 3
    assert routes(host, "dev", tun) == {"10.90.0.0/16", "192.0.2.1", "fd90::/48 1024"}
    assert host.call(converge_routes, tun, into(tun, *BEHIND)) == []
    removed = host.call(converge_routes, tun, into(tun, *BEHIND[1:]))
    assert removed == ["route 10.90.0.0/16 removed"]
    assert len(host.call(converge_routes, tun, [])) == 2
    assert routes(host, "dev", tun) == set()


def test_some_routes_are_changed_beside_the_others(host: Host, tun: str) -> None:
    host.call(converge_routes, tun, into(tun, *BEHIND))
    come, gone = into(tun, "10.91.0.0/16"), into(tun, *BEHIND[::2])
    changes = host.call(change_routes, tun, come, gone)
    assert changes == [
        "route 10.91.0.0/16 added",
        "route 10.90.0.0/16 removed",
        "route fd90::/48 removed",
    ]
    assert routes(host, "dev", tun) == {"10.91.0.0/16", "192.0.2.1"}
    with pytest.raises(ConflictError, match=r"route 10\.91\.0\.0/16"):
        host.call(change_routes, tun, come, [])
    host.ip("link", "del", tun)
    with pytest.raises(NetworkError, match=tun):
        host.call(change_routes, tun, come, [])


def test_table_and_metric_are_changed(host: Host, tun: str) -> None:
    host.call(converge_routes, tun, into(tun, *BEHIND))
    host.call(converge_routes, tun, into(tun, *BEHIND, metric=50))
    assert routes(host, "dev", tun) == {"10.90.0.0/16 50", "192.0.2.1 50", "fd90::/48 50"}
    elsewhere = into(tun, *BEHIND, *DEFAULTS, table=1234567, metric=7)
    assert len(host.call(converge_routes, tun, elsewhere)) == 8
    assert host.call(converge_routes, tun, elsewhere) == []
    assert routes(host, "dev", tun) == set()
    assert len(routes(host, "table", "1234567")) == 4  # the two default routes have one name
    host.call(converge_routes, tun, [])
    assert routes(host, "table", "all") == set()


def test_routes_of_others_stay(host: Host, tun: str) -> None:
    host.link("eth7", "192.0.2.1/24")
    host.ip("route", "add", "10.80.0.0/16", "dev", tun)
    host.ip("-6", "route", "add", "fd80::/64", "dev", "eth7")
    wanted = into(tun, "192.0.2.0/24", "fd80::/64", "10.90.0.0/16")
    with pytest.raises(ConflictError, match=r"192\.0\.2\.0/24, fd80::/64 is routed elsewhere"):
        host.call(converge_routes, tun, wanted)
    assert routes(host, "dev", tun) == {"10.90.0.0/16"}
    host.call(converge_routes, tun, [])
    left = {route["dst"]: route["dev"] for route in host.ip_json("route")}
    assert left["192.0.2.0/24"] == "eth7"
    assert left["10.80.0.0/16"] == tun


def test_own_tables_hold_what_they_should_and_no_more(host: Host, tun: str) -> None:
    host.link("eth7", "192.0.2.1/24", "fd07::1/64")
    table = OWN[1]
    closed = [Route(ip_network(each), None, table=table, metric=0xFFFFFFFF) for each in DEFAULTS]
    ways = [
        Route(ip_network(default), "eth7", ip_address(gateway), table)
        for default, gateway in zip(DEFAULTS, ("192.0.2.9", "fd07::9"), strict=True)
    ]
    assert len(host.call(converge_routes, tun, closed + ways, OWN)) == 4
    assert host.call(converge_routes, tun, closed + ways, OWN) == []
    ways[0] = Route(ip_network("0.0.0.0/0"), "eth7", ip_address("192.0.2.8"), table)
    host.call(converge_routes, tun, closed + ways, OWN)
    (default, last) = host.ip_json("route", "show", "table", str(table))
    assert (default["gateway"], last["type"]) == ("192.0.2.8", "unreachable")
    host.call(remove_routes, OWN)
    assert routes(host, "table", "all") == set()


def test_a_way_that_is_missing_is_told_after_the_rest_is_done(host: Host, tun: str) -> None:
    host.link("eth7", "192.0.2.1/24")
    default = ip_network("0.0.0.0/0")
    wanted = [
        Route(default, "eth8", ip_address("192.0.2.9"), OWN[1]),
        Route(default, "eth7", ip_address("203.0.113.9"), OWN[2]),
        *into(tun, *BEHIND),
    ]
    with pytest.raises(NetworkError, match=r"no interface eth8.*203\.0\.113\.9 dev eth7"):
        host.call(converge_routes, tun, wanted, OWN)
    assert len(routes(host, "dev", tun)) == 3
