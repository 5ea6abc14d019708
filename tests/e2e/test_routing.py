"""Ways of their own: several uplinks, and exit through a peer, with real packets.

    a ─────── world ══(up1, up2)══ server ─── lan
    site ──────┘

World is the internet: every host has a link to it, the server two, of which the main table knows
the first. a and site are peers. World does not know the networks behind server and site but those
of the links, and tells who calls with which address.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path

import pytest

from harness import Client, Wgbind, connect, count_packets, host_state, ping, veth
from harness.topology import Host as Addresses
from harness.topology import Link
from net.host import Host
from net.tunnel import blocked
from net.tunnel import connect as caller
from net.tunnel import family as family_of

FAMILIES = ("ipv4", "ipv6")

MASQUERADE = """
table inet site {
    chain postrouting {
        type nat hook postrouting priority 100;
        oifname "uplink" masquerade
    }
}
"""


@dataclass
class World:
    """The hosts of the picture.

    Attributes:
        ends: The addresses of the hosts on their links.
        gateways: World's on these links, and the server's on lan's.
        lan_link: The network behind the server.
        elsewhere: Addresses of world that are on no link.
    """

    a: Host
    site: Host
    world: Host
    server: Host
    lan: Host
    ends: dict[str, Addresses]
    gateways: dict[str, Addresses]
    lan_link: Link
    elsewhere: Addresses


def cut_off(client: Host, server: Host, address: str) -> bool:
    """Whether a client cannot call another: no answer, or told that there is no way."""
    try:
        return blocked(client, server, address)
    except OSError:
        return True


def called(client: Host, server: Host, address: str, listener_address: str) -> bool:
    """Whether a client that calls port 8080 of `address` speaks to port 80 of the server's."""
    kind = family_of(address)
    with (
        server.call(socket.create_server, (listener_address, 80), family=kind) as listener,
        client.call(socket.socket, kind, socket.SOCK_STREAM) as sock,
    ):
        sock.settimeout(30)
        sock.connect((address, 8080))
        listener.settimeout(30)
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"answer")
            return sock.recv(100) == b"answer"


@pytest.fixture
def hosts() -> Iterator[World]:
    with ExitStack() as stack:
        a, site, world, server, lan = (
            stack.enter_context(Host(role)) for role in ("a", "site", "world", "server", "lan")
        )
        links = {name: Link.random() for name in ("a", "site", "up1", "up2", "lan")}
        ends = {name: link.host(2) for name, link in links.items()}
        gateways = {name: link.host(1) for name, link in links.items()}
        for name, host in (("a", a), ("site", site), ("up1", server), ("up2", server)):
            interface = name if host is server else "uplink"
            addresses = ends[name].with_prefix(), gateways[name].with_prefix()
            veth(host, world, (interface, f"to-{name}"), addresses)
        addresses = ends["lan"].with_prefix(), gateways["lan"].with_prefix()
        veth(lan, server, ("eth0", "lan"), addresses)
        for name, host in (("a", a), ("site", site), ("up1", server), ("lan", lan)):
            host.ip("route", "add", "default", "via", gateways[name].ipv4)
            host.ip("-6", "route", "add", "default", "via", gateways[name].ipv6)
        # The server routes lan's packets without NAT: the way back is known.
        world.ip("route", "add", str(links["lan"].ipv4), "via", ends["up1"].ipv4)
        world.ip("-6", "route", "add", str(links["lan"].ipv6), "via", ends["up1"].ipv6)
        for host in (world, site):
            for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
                host.sysctl(key, "1")
        site.run(["nft", "-f", "-"], text=MASQUERADE)
        elsewhere = Link.random().host(1)
        for address in elsewhere.with_prefix():
            world.add_address("lo", address)
        yield World(a, site, world, server, lan, ends, gateways, links["lan"], elsewhere)


@pytest.fixture
def server(hosts: World, tmp_path: Path) -> Wgbind:
    """A server with settings that is stopped."""
    server = Wgbind(hosts.server, tmp_path)
    server.run("server", "init", server.name)
    return server


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def configure(server: Wgbind, *changes: tuple[str, str]) -> None:
    """Replace parts of the server's settings."""
    text = server.settings.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    server.settings.write_text(text)


def enter(server: Wgbind, host: Host, name: str, folder: Path, *options: str) -> Client:
    """Add a peer and connect it, with the tunnel's networks routed there."""
    folder = folder / name
    folder.mkdir()
    ipv4, ipv6 = server.status()["addresses"]
    networks = [ipv4.replace(".1/", ".0/"), ipv6.replace("::1/", "::/")]
    return connect(host, server.add_peer(name, *options), folder, *networks)


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_leave_by_the_uplink_that_was_asked(
    hosts: World, server: Wgbind, tmp_path: Path, family: str
) -> None:
    address, gateways = getattr(hosts.ends["up2"], family), hosts.gateways["up2"]
    configure(server, ('# endpoint = "vpn.example.org"', f'endpoint = "{bracketed(address)}"'))
    without = server.settings.read_text()
    up2 = f'[routing.uplinks]\nup2 = ["{gateways.ipv4}", "{gateways.ipv6}"]'
    configure(server, ("[routing.uplinks]", up2))
    before = host_state(hosts.server)
    server.start()
    assert server.status()["problems"] == []
    enter(server, hosts.a, "a", tmp_path)
    inner = server.status()["addresses"][0].partition("/")[0]
    with (
        count_packets(hosts.world, 'iifname "to-up1" udp sport 51820') as by_up1,
        count_packets(hosts.world, 'iifname "to-up2" udp sport 51820') as by_up2,
    ):
        assert ping(hosts.a, inner).lost == 0
        assert (by_up1(), by_up2() > 0) == (0, True)
        # Whoever asks the host itself there gets an answer, too.
        assert caller(hosts.a, hosts.server, address) == getattr(hosts.ends["a"], family)

        configured = server.settings.read_text()
        server.settings.write_text(without)
        server.run("server", "reload", server.name)
        assert host_state(hosts.server)["rules"] == before["rules"]
        answered = by_up2()
        ping(hosts.a, inner, count=1, deadline=1)  # IPv4 finds no way, IPv6 the other
        assert by_up2() == answered
    server.settings.write_text(configured)
    server.run("server", "reload", server.name)
    server.stop()
    assert host_state(hosts.server) == before


EXIT_ROUTES = ("--route", "0.0.0.0/0", "--route", "::/0")


def test_exit_through_a_peer(hosts: World, server: Wgbind, tmp_path: Path) -> None:
    """Peers and the host itself take the exit, the tunnel's own datagrams and answers do not."""
    configure(
        server,
        ('# endpoint = "vpn.example.org"', f'endpoint = "{hosts.ends["up1"].ipv4}"'),
        ('preset = ["gateway"]', 'preset = ["gateway", "hub"]'),
        ("exit = []", 'exit = ["peers", "host"]'),
    )
    before = host_state(hosts.server)
    hosts.server.sysctl("net.ipv4.conf.all.rp_filter", "1")
    server.start()
    (problem,) = server.status()["problems"]
    assert "no peer has the routed network 0.0.0.0/0" in problem
    assert cut_off(hosts.server, hosts.world, hosts.gateways["a"].ipv4)

    site = enter(server, hosts.site, "site", tmp_path, *EXIT_ROUTES)
    a = enter(server, hosts.a, "a", tmp_path)
    assert ping(hosts.site, server.status()["addresses"][0].partition("/")[0]).lost == 0
    assert server.status()["problems"] == []
    for family, version in zip(FAMILIES, ("-4", "-6"), strict=True):
        target, seen = getattr(hosts.gateways["site"], family), getattr(hosts.ends["site"], family)
        assert caller(hosts.server, hosts.world, target) == seen
        hosts.a.ip(version, "route", "add", target, "dev", a.interface)
        assert caller(hosts.a, hosts.world, target) == seen
        # An answer has the address that was asked, and goes back where the question came from.
        own = getattr(hosts.ends["up1"], family)
        assert caller(hosts.world, hosts.server, own) == getattr(hosts.gateways["up1"], family)
    status = server.status()
    assert status["endpoint"].startswith(hosts.ends["up1"].ipv4)
    # The exit has what nobody else has, but not the addresses that peers are yet to get.
    (exit_peer,) = (peer for peer in status["peers"] if peer["name"] == "site")
    assert exit_peer["allowed_ips"][-2:] == ["0.0.0.0/0", "::/0"]
    free = str(ip_interface(status["addresses"][0]).network[-2])
    with count_packets(hosts.site, f"ip daddr {free}") as received:
        ping(hosts.a, free, count=1, deadline=1)
        assert received() == 0
    assert site.latest_handshake() > 0

    server.kill()
    assert cut_off(hosts.server, hosts.world, hosts.gateways["a"].ipv4)
    server.start()
    rules = host_state(hosts.server)["rules"]
    server.run("server", "reload", server.name)
    assert host_state(hosts.server)["rules"] == rules
    server.kill()
    server.stop()
    hosts.server.sysctl("net.ipv4.conf.all.rp_filter", "0")
    assert host_state(hosts.server) == before


def test_a_group_leaves_by_its_uplink_and_calls_are_answered_there(
    hosts: World, server: Wgbind, tmp_path: Path
) -> None:
    gateways = hosts.gateways["up2"]
    configure(
        server,
        ('# endpoint = "vpn.example.org"', f'endpoint = "{hosts.ends["up1"].ipv4}"'),
        ("groups = []", 'groups = ["guests"]'),
        ("forwards = []", 'forwards = ["tcp/8080 -> peer:a : 80"]'),
        ("[routing.uplinks]", f'[routing.uplinks]\nup2 = ["{gateways.ipv4}", "{gateways.ipv6}"]'),
        ("[routing.egress_for]", '[routing.egress_for]\nguests = "up2"'),
    )
    before = host_state(hosts.server)
    server.start()
    a = enter(server, hosts.a, "a", tmp_path, "--group", "guests")
    site = enter(server, hosts.site, "site", tmp_path)
    for family, version in zip(FAMILIES, ("-4", "-6"), strict=True):
        target = getattr(hosts.elsewhere, family)
        for client in (a, site):
            client.namespace.ip(version, "route", "add", target, "dev", client.interface)
        assert caller(hosts.a, hosts.world, target) == getattr(hosts.ends["up2"], family)
        assert caller(hosts.site, hosts.world, target) == getattr(hosts.ends["up1"], family)
        for name, uplink in (("a", "up2"), ("site", "up1")):
            question = f"{name} -> {target}"
            said = server.run("firewall", "explain", question, "--server", server.name).stdout
            assert f"{target} by {uplink}" in said
        own = getattr(hosts.ends["up2"], family)
        # The answer to world's address finds its way through the tunnel, too.
        hosts.a.ip(version, "route", "add", getattr(gateways, family), "dev", a.interface)
        with count_packets(hosts.world, 'iifname "to-up1" tcp sport 8080') as wrong:
            assert called(hosts.world, hosts.a, own, getattr(a, family))
            assert wrong() == 0

    hosts.server.ip("link", "set", "up2", "down")
    for family in FAMILIES:
        assert cut_off(hosts.a, hosts.world, getattr(hosts.elsewhere, family))
    server.stop()
    after = host_state(hosts.server)
    assert (after["rules"], after["nftables"]) == (before["rules"], before["nftables"])


def test_a_network_takes_the_exit_and_nothing_else(
    hosts: World, server: Wgbind, tmp_path: Path
) -> None:
    lan = f'lan = ["{hosts.lan_link.ipv4}", "{hosts.lan_link.ipv6}"]'
    configure(
        server,
        ('# endpoint = "vpn.example.org"', f'endpoint = "{hosts.ends["up1"].ipv4}"'),
        ("rules = []", 'rules = ["allow lan -> peer:site"]'),
        ("[policy.networks]", f"[policy.networks]\n{lan}"),
        ("exit = []", 'exit = ["lan"]'),
    )
    server.start()
    site = enter(server, hosts.site, "site", tmp_path, *EXIT_ROUTES)
    inner = server.status()["addresses"][0].partition("/")[0]
    assert ping(hosts.site, inner).lost == 0
    for family, version in zip(FAMILIES, ("-4", "-6"), strict=True):
        network = str(getattr(hosts.lan_link, family))
        hosts.site.ip(version, "route", "add", network, "dev", site.interface)
        target, seen = getattr(hosts.gateways["site"], family), getattr(hosts.ends["site"], family)
        assert caller(hosts.lan, hosts.world, target) == seen
        # What this host sends itself keeps its way.
        own = getattr(hosts.ends["up1"], family)
        assert caller(hosts.server, hosts.world, target) == own

    server.kill()
    for family in FAMILIES:
        assert cut_off(hosts.lan, hosts.world, getattr(hosts.gateways["site"], family))
    server.stop()
    for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        hosts.server.sysctl(key, "1")
    for family in FAMILIES:
        own = getattr(hosts.lan_link.host(2), family)
        assert caller(hosts.lan, hosts.world, getattr(hosts.gateways["site"], family)) == own


def test_routes_of_another_table_are_for_marked_packets(hosts: World, server: Wgbind) -> None:
    default = 'table = "main"'
    text = server.settings.read_text()
    assert default in text
    before = host_state(hosts.server)
    server.settings.write_text(text.replace(default, "table = 100\nfwmark = 256\nmetric = 7"))
    server.start()
    server.peer("add", "branch", "--route", "203.0.113.0/24", "--route", "2001:db8::/48")

    def way(address: str, *mark: str) -> str:
        return str(hosts.server.ip_json("route", "get", address, *mark)[0]["dev"])

    for address in ("203.0.113.7", "2001:db8::7"):
        assert way(address) == "up1"
        assert way(address, "mark", "256") == server.name
    server.settings.write_text(text)
    server.run("server", "reload", server.name)
    for address in ("203.0.113.7", "2001:db8::7"):
        assert way(address) == server.name
    assert host_state(hosts.server)["rules"] == before["rules"]
    server.kill()
    server.stop()
    assert host_state(hosts.server) == before
