"""A client as most people have it: `wg-quick up`, all traffic into the tunnel."""

from pathlib import Path

from harness import Topology, Wgbind, connect_with_wg_quick, disconnect_with_wg_quick, ping


def test_wg_quick_takes_the_printed_text(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.start()
    rules = topology.a.ip("rule")
    client = connect_with_wg_quick(topology.a, server.add_peer("phone"), tmp_path)

    ipv4, ipv6 = (address.split("/")[0] for address in server.status()["addresses"])
    assert ping(topology.a, ipv4).lost == 0
    assert ping(topology.a, ipv6).lost == 0
    # No route of A's leads to the LAN but the one into the tunnel.
    assert ping(topology.a, topology.lan_host.ipv4).lost == 0
    assert ping(topology.a, topology.lan_host.ipv6).lost == 0
    assert client.interface in topology.a.ip("route", "get", "192.0.2.1")
    assert "nameserver" in tmp_path.joinpath("resolvconf").read_text()
    assert server.peer_status("phone")["rx_bytes"] > 0

    disconnect_with_wg_quick(client, tmp_path)
    assert client.interface not in topology.a.interfaces()
    assert topology.a.ip("rule") == rules


def test_a_client_sends_all_but_what_is_excluded(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.start()
    options = ("--exclude", "203.0.113.0/24", "--exclude", "2001:db8::/32", "--dns", "9.9.9.9")
    client = connect_with_wg_quick(topology.a, server.add_peer("phone", *options), tmp_path)

    # By an endpoint that stays outside, though all around it is inside.
    for address in server.status()["addresses"]:
        assert ping(topology.a, address.split("/")[0]).lost == 0
    ways = {
        address: topology.a.ip_json("route", "get", address)[0]["dev"]
        for address in ("203.0.113.7", "203.0.112.7", "2001:db8::7", "2001:db9::7")
    }
    assert ways == {
        "203.0.113.7": "uplink",
        "203.0.112.7": client.interface,
        "2001:db8::7": "uplink",
        "2001:db9::7": client.interface,
    }
    assert tmp_path.joinpath("resolvconf").read_text() == "nameserver 9.9.9.9\n"
    disconnect_with_wg_quick(client, tmp_path)
