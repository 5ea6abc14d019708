"""Which way a packet takes, as the kernel says it."""

from ipaddress import ip_address

import pytest

from net.host import Host
from wgbind.net.way import Way, way_to


@pytest.fixture
def router(host: Host) -> Host:
    """A host with two interfaces, whose visitors of the first take a table of their own."""
    host.link("one", "198.18.0.1/28", "fd07::1/64")
    host.link("two", "198.18.0.17/28")
    for name in ("all", "one", "two"):
        host.sysctl(f"net.ipv4.conf.{name}.forwarding", "1")
    host.ip("route", "add", "default", "dev", "one")
    host.ip("route", "add", "default", "dev", "two", "table", "77")
    host.ip("route", "add", "unreachable", "203.0.113.0/24", "table", "77")
    host.ip("rule", "add", "from", "198.18.0.2", "iif", "one", "lookup", "77")
    return host


@pytest.mark.parametrize(
    ("destination", "source", "way"),
    [
        ("198.18.0.1", None, Way(local=True, interface="")),
        ("fd07::1", None, Way(local=True, interface="")),
        ("198.18.0.18", None, Way(local=False, interface="two")),
        ("fd07::2", None, Way(local=False, interface="one")),
        ("192.0.2.1", None, Way(local=False, interface="one")),
        ("192.0.2.1", "198.18.0.2", Way(local=False, interface="two")),
        ("192.0.2.1", "198.18.0.3", Way(local=False, interface="one")),
        ("203.0.113.1", "198.18.0.2", None),
        ("2001:db8::1", None, None),
        # Such a source comes from elsewhere, so the kernel does not say.
        ("198.18.0.18", "127.0.0.1", Way(local=False, interface="two")),
    ],
)
def test_way(router: Host, destination: str, source: str | None, way: Way | None) -> None:
    peer = None if source is None else ip_address(source)
    assert router.call(way_to, ip_address(destination), peer, "one") == way


def test_interface_that_does_not_exist_counts_for_nothing(router: Host) -> None:
    destination, peer = ip_address("192.0.2.1"), ip_address("198.18.0.2")
    found = router.call(way_to, destination, peer, "absent")
    assert found == Way(local=False, interface="one")
