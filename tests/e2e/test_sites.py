"""Two servers with a network behind each: hosts there reach each other as themselves, without NAT.

lan ── server ═══════ server ── lan
left                           right
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from ipaddress import ip_interface
from typing import TYPE_CHECKING

import pytest

from harness import Link, Wgbind, count_packets, ping, veth, wg
from net.host import Host
from net.tunnel import blocked, connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADD_SITE = """
import sys
from ipaddress import ip_network
from wgbind import PublicKey, Server
from wgbind.store import Store

name, key, endpoint, *networks = sys.argv[1:]
server = Server(name)
settings = server.configuration().settings
with Store.open(server.paths, settings) as store:
    store.add_peer(
        name,
        "other",
        pools=settings.interface.addresses,
        public_key=PublicKey(key),
        routed_networks=[ip_network(network) for network in networks],
        endpoint=(endpoint, 51820),
    )
"""


class Site:
    """A running server and a host behind it, in namespaces that `stack` removes."""

    def __init__(self, role: str, folder: Path, stack: ExitStack) -> None:
        self.server = stack.enter_context(Host(f"{role}-server"))
        self.lan = stack.enter_context(Host(f"{role}-lan"))
        self.link = Link.random()
        ends = self.link.host(2), self.link.host(1)
        addresses = ends[0].with_prefix(), ends[1].with_prefix()
        veth(self.lan, self.server, ("eth0", "lan"), addresses)
        self.lan.ip("route", "add", "default", "via", ends[1].ipv4)
        self.lan.ip("-6", "route", "add", "default", "via", ends[1].ipv6)
        self.addresses = ends[0].ipv4, ends[0].ipv6
        self.wgbind = Wgbind(self.server, folder)
        self.wgbind.run("server", "init", self.wgbind.name)
        self.wgbind.rewrite(
            ('preset = ["gateway"]', 'preset = "site"'),
            ("# lan = [", f'lan = ["{self.link.ipv4}", "{self.link.ipv6}"]\n# lan = ['),
        )
        self.wgbind.start()

    def networks(self) -> list[str]:
        """Return the prefixes of all that is reached by it: its LAN and its tunnel."""
        inner = [ip_interface(each).network for each in self.wgbind.status()["addresses"]]
        return [str(network) for network in (self.link.ipv4, self.link.ipv6, *inner)]

    def add(self, other: Site, endpoint: str) -> None:
        """Make the other site a peer, by its server's outer address."""
        name = other.wgbind.name
        key = wg(other.server, "show", name, "public-key").strip()
        script = [sys.executable, "-c", ADD_SITE, self.wgbind.name, key, endpoint]
        self.server.run([*script, *other.networks()], env=self.wgbind.env)
        self.wgbind.run("server", "reload", self.wgbind.name)

    def deny(self, rule: str) -> None:
        """Put a rule before all others of the running server."""
        self.wgbind.rewrite(("rules = [", f'rules = ["{rule}", '))
        self.wgbind.run("server", "reload", self.wgbind.name)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    with ExitStack() as stack:
        roles = ("left", "right")
        left, right = (Site(role, tmp_path_factory.mktemp(role), stack) for role in roles)
        outer = Link.random()
        ends = outer.host(1), outer.host(2)
        addresses = ends[0].with_prefix(), ends[1].with_prefix()
        veth(left.server, right.server, ("uplink", "uplink"), addresses)
        left.add(right, ends[1].ipv4)
        right.add(left, ends[0].ipv4)
        yield left, right


def test_hosts_of_both_sites_reach_each_other(sites: tuple[Site, Site]) -> None:
    for one, other in (sites, sites[::-1]):
        for ours, theirs in zip(one.addresses, other.addresses, strict=True):
            assert connect(one.lan, other.lan, theirs) == ours
            assert ping(one.lan, theirs).lost == 0


def test_it_goes_through_the_tunnel(sites: tuple[Site, Site]) -> None:
    left, right = sites
    with count_packets(right.server, f'iifname "uplink" ip saddr {left.addresses[0]}') as outside:
        connect(left.lan, right.lan, right.addresses[0])
        assert outside() == 0


def test_servers_reach_the_other_network(sites: tuple[Site, Site]) -> None:
    for one, other in (sites, sites[::-1]):
        for address in other.addresses:
            connect(one.server, other.lan, address)


def test_the_server_of_the_other_site_is_no_service(sites: tuple[Site, Site]) -> None:
    left, right = sites
    for each in right.wgbind.status()["addresses"]:
        address = each.split("/")[0]
        assert ping(left.lan, address).lost == 0
        assert blocked(left.lan, right.server, address)


def test_a_rule_is_about_the_network_behind_the_peer(sites: tuple[Site, Site]) -> None:
    left, right = sites
    right.deny("deny peer:other -> lan")
    for version in (0, 1):
        assert blocked(left.lan, right.lan, right.addresses[version])
        assert connect(right.lan, left.lan, left.addresses[version]) == right.addresses[version]
