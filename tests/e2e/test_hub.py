"""Who reaches whom straight inside the server, and who by way of its kernel and the rules there."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from ipaddress import ip_interface

import pytest

from harness import (
    Client,
    Topology,
    Wgbind,
    connect,
    count_packets,
    ping,
    reach,
    wait_until,
    wg,
)

RULES = ["allow staff -> staff", "allow peers -> peers : ping"]
FAMILIES = {"ipv4": "ip", "ipv6": "ip6"}


@dataclass(frozen=True)
class Office:
    """A running server with A and B in the group staff, and with C, which is in none."""

    server: Wgbind
    a: Client
    b: Client
    c: Client

    def rule(self, *rules: str) -> None:
        """Let the running server work by these rules."""
        text = self.server.settings.read_text()
        (line,) = (line for line in text.splitlines() if line.startswith("rules = "))
        self.server.rewrite((line, f"rules = {json.dumps(rules)}"))
        self.server.run("server", "reload", self.server.name)

    def by_kernel(
        self, one: Client, other: Client, family: str
    ) -> AbstractContextManager[Callable[[], int]]:
        """Count the packets from one to the other that the server's kernel gets to see."""
        ip = FAMILIES[family]
        ends = f"{ip} saddr {getattr(one, family)} {ip} daddr {getattr(other, family)}"
        return count_packets(self.server.namespace, f"iifname {self.server.name} {ends}")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    with Topology() as hosts:
        server = Wgbind(hosts.server, folder)
        server.run("server", "init", server.name)
        server.rewrite(
            ("groups = []", 'groups = ["staff"]'), ("rules = []", f"rules = {json.dumps(RULES)}")
        )
        server.start()
        addresses = [ip_interface(address) for address in server.status()["addresses"]]
        networks = [str(address.network) for address in addresses]
        made = Office(
            server,
            *(
                connect(host, server.add_peer(name, *options), folder, *networks)
                for host, name, *options in (
                    (hosts.a, "a", "--group", "staff"),
                    (hosts.b, "b", "--group", "staff"),
                    (hosts.lan, "c"),
                )
            ),
        )
        for client in (made.a, made.b, made.c):  # their handshakes
            reach(client.namespace, str(addresses[0].ip))
        yield made


@pytest.mark.parametrize("family", FAMILIES)
def test_only_who_may_do_everything_goes_straight(office: Office, family: str) -> None:
    a, b, c = office.a, office.b, office.c
    with office.by_kernel(a, b, family) as there, office.by_kernel(b, a, family) as back:
        assert ping(a.namespace, getattr(b, family)).lost == 0
        assert (there(), back()) == (0, 0)
    for one, other in ((c, a), (a, c)):
        with office.by_kernel(one, other, family) as seen:
            assert ping(one.namespace, getattr(other, family)).lost == 0
            assert seen() == 3


def test_a_way_that_the_rules_close_is_closed_at_once(office: Office) -> None:
    a, b = office.a, office.b
    handshakes = [(client, client.settled_handshake()) for client in (a, b)]
    assert ping(a.namespace, b.ipv4).lost == 0
    try:
        office.rule()
        for family in FAMILIES:
            with office.by_kernel(a, b, family) as seen:
                assert ping(a.namespace, getattr(b, family), deadline=1).received == 0
                wait_for(seen, 3)
        office.rule(RULES[0].replace("allow", "deny"), RULES[1])
        assert ping(b.namespace, a.ipv4, deadline=1).received == 0
    finally:
        office.rule(*RULES)
    assert ping(a.namespace, b.ipv4).lost == 0
    assert all(client.keeps_session(handshake) for client, handshake in handshakes)


def wait_for(seen: Callable[[], int], count: int) -> None:
    """Wait until a host has seen so many packets: unanswered, they may still be on their way."""
    wait_until(lambda: seen() == count, f"{count} packets")


def test_who_leaves_a_group_goes_by_the_kernel(office: Office) -> None:
    a, b = office.a, office.b
    try:
        office.server.peer("set", "b", "--no-group", "staff")
        with office.by_kernel(a, b, "ipv4") as seen:
            assert ping(a.namespace, b.ipv4).lost == 0
            assert seen() == 3
    finally:
        office.server.peer("set", "b", "--group", "staff")
    with office.by_kernel(a, b, "ipv4") as seen:
        assert ping(a.namespace, b.ipv4).lost == 0
        assert seen() == 0


def test_address_of_wg_set_is_the_peers_for_the_rules_too(office: Office) -> None:
    """The store keeps it, so that whoever may do everything goes straight with it."""
    a, c, server = office.a, office.c, office.server
    key, address = server.peer_status("c")["public_key"], f"{ip_interface(c.ipv4).ip + 70}"
    c.namespace.add_address(c.interface, f"{address}/32")
    try:
        wg(server.namespace, "set", server.name, "peer", key, "allowed-ips", f"{c.ipv4},{address}")
        assert f"{address}/32" in server.configured_peers()["c"][1]
        office.rule("allow peers -> peers")  # when it returns, all is applied
        for source in (c.ipv4, address):
            match = f"iifname {server.name} ip saddr {source} ip daddr {a.ipv4}"
            with count_packets(server.namespace, match) as seen:
                assert ping(c.namespace, a.ipv4, source=source).lost == 0
                assert seen() == 0
    finally:
        office.rule(*RULES)
        server.peer("set", "c", "--address", c.ipv4, "--address", c.ipv6)
    (_, allowed_ips) = server.configured_peers()["c"]
    assert set(allowed_ips) == {f"{c.ipv4}/32", f"{c.ipv6}/128"}
