"""`wg` on the interface of a running server."""

from pathlib import Path

from harness import Network, ping, wg

STRANGER = "hU1CIDVb6JYcQoFAVrKbYNIeWkfYHcWNDBRCZWPhpVY="
"""A public key whose private half nobody has."""


def test_show_tells_what_status_tells(network: Network) -> None:
    server, status = network.server, network.server.status()
    dump = wg(network.hosts.server, "show", server.name, "dump")
    device, *peers = (line.split("\t") for line in dump.splitlines())
    assert device[1:] == [status["public_key"], str(status["listen_port"]), "off"]
    known = {peer["public_key"]: peer for peer in status["peers"]}
    assert {peer[0] for peer in peers} == set(known)
    for key, _, endpoint, allowed_ips, handshake, received, sent, _ in peers:
        assert endpoint == known[key]["endpoint"]
        assert sorted(allowed_ips.split(",")) == sorted(known[key]["allowed_ips"])
        assert int(handshake) > 0
        assert int(received) > 0
        assert int(sent) > 0
    human = wg(network.hosts.server, "show", server.name)
    assert "latest handshake" in human
    assert "(hidden)" in human


def test_setconf_takes_what_showconf_gave(network: Network, tmp_path: Path) -> None:
    host, name = network.hosts.server, network.server.name
    shown = wg(host, "showconf", name)
    assert "[Interface]" in shown
    assert shown.count("[Peer]") == 2
    file = tmp_path / "shown.conf"
    file.touch(0o600)
    file.write_text(shown)
    wg(host, "setconf", name, str(file))
    assert sorted(wg(host, "showconf", name).splitlines()) == sorted(shown.splitlines())
    # setconf replaces the peers, and with them their sessions; the server starts new ones.
    assert ping(host, network.a.ipv4).received > 0
    assert ping(network.hosts.a, network.ipv4).lost == 0


def test_syncconf_disturbs_no_session(network: Network, tmp_path: Path) -> None:
    host, name = network.hosts.server, network.server.name
    assert ping(network.hosts.a, network.ipv4).lost == 0
    handshake = network.a.settled_handshake()
    file = tmp_path / "same.conf"
    file.touch(0o600)
    file.write_text(wg(host, "showconf", name))
    wg(host, "syncconf", name, str(file))
    assert ping(network.hosts.a, network.ipv4).lost == 0
    assert network.a.keeps_session(handshake)


def test_wrong_values_are_refused(network: Network) -> None:
    host, name = network.hosts.server, network.server.name
    before = wg(host, "showconf", name)
    wrong = ["wg", "set", name, "listen-port", "1", "peer", STRANGER, "allowed-ips", "10.0.0.0/33"]
    assert host.run(wrong, check=False).returncode != 0
    assert wg(host, "showconf", name) == before
