"""A peer is disabled, enabled, gets new keys and expires, while it and others send."""

import re
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from harness import Network, ping, udp_stream, wg


def test_disabled_peer_is_served_no_more_until_it_is_enabled(network: Network) -> None:
    hosts, server = network.hosts, network.server
    server.rewrite(('-> host"]', '-> host", "allow peer:b -> internet : tcp/7"]'))
    server.run("server", "reload", server.name)
    assert ping(hosts.b, network.ipv4).lost == 0
    before = server.peer_status("b")
    assert before["state"] == "connected"
    address = before["allowed_ips"][0].partition("/")[0]
    assert address in ruleset(network)
    others = udp_stream(hosts.a, hosts.server, network.ipv4)
    server.peer("disable", "b")
    assert ping(hosts.b, network.ipv4, count=2, deadline=1).received == 0
    assert before["public_key"] not in wg(hosts.server, "show", server.name, "peers")
    assert address not in ruleset(network)
    status = server.peer_status("b")
    assert status["state"] == "disabled"
    assert status["allowed_ips"] == before["allowed_ips"]
    enabled_at = datetime.now(timezone.utc)
    server.peer("enable", "b")
    assert address in ruleset(network)
    others.assert_nothing_lost()
    # Its old session does not come back; a new one it begins 15 s after its first packet in vain.
    if ping(hosts.b, network.ipv4, count=2, deadline=1).received:
        last = datetime.fromisoformat(
            server.peer_status("b")["last_handshake"].replace("Z", "+00:00")
        )
        assert last > enabled_at
    restart(network, None)
    assert ping(hosts.b, network.ipv4).received > 0
    assert server.peer_status("b")["state"] == "connected"


def test_old_keys_end_when_new_ones_come(network: Network, tmp_path: Path) -> None:
    hosts, server = network.hosts, network.server
    assert ping(hosts.b, network.ipv4).lost == 0
    before = server.peer_status("b")
    rotated = server.peer("rotate", "b", "--no-qr").stdout
    assert ping(hosts.b, network.ipv4, count=2, deadline=1).received == 0
    configuration = tmp_path / "rotated.conf"
    configuration.touch(0o600)
    configuration.write_text(re.sub("(?m)^(Address|DNS|MTU) .*\n", "", rotated))
    restart(network, configuration)
    assert ping(hosts.b, network.ipv4).received > 0
    after = server.peer_status("b")
    assert after["allowed_ips"] == before["allowed_ips"]
    assert after["public_key"] != before["public_key"]


def test_peer_expires_on_the_second(network: Network) -> None:
    hosts, server = network.hosts, network.server
    assert ping(hosts.a, network.ipv4).lost == 0
    key = server.peer_status("a")["public_key"]
    expires_at = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=8)
    server.peer("set", "a", "--expires", expires_at.isoformat())
    answered = ping(hosts.a, network.ipv4, count=1, deadline=5).received == 1
    assert answered or datetime.now(timezone.utc) >= expires_at
    while key in wg(hosts.server, "show", server.name, "peers"):
        # On an idle machine it is gone within the second; others may share this one.
        assert datetime.now(timezone.utc) < expires_at + timedelta(seconds=30)
        time.sleep(0.02)
    assert datetime.now(timezone.utc) >= expires_at
    assert ping(hosts.a, network.ipv4, count=2, deadline=1).received == 0
    assert server.peer_status("a")["state"] == "expired"
    assert "peer a: expired at" in server.runtime.joinpath(f"{server.name}.log").read_text()
    refused = server.peer("enable", "a", check=False)
    assert refused.returncode == 2
    assert "date" in refused.stderr
    # It is not served either by a server that was down when its date came.
    server.stop()
    server.start()
    assert key not in wg(hosts.server, "show", server.name, "peers")
    server.peer("enable", "a", "--expires", "1h")
    assert key in wg(hosts.server, "show", server.name, "peers")


def ruleset(network: Network) -> str:
    return network.hosts.server.run(["nft", "list", "ruleset"]).stdout


def restart(network: Network, configuration: Path | None) -> None:
    """Let B forget its session, and take another configuration."""
    interface = network.b.interface
    if configuration is None:
        configuration = network.server.config.with_name(f"{interface}.stripped")
    wg(network.hosts.b, "setconf", interface, str(configuration))
