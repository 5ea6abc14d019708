"""What a server tells when dates come and when there is no more of something."""

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from e2e.listening import LISTEN, Listener
from harness import Network, Topology, Wgbind, program

SENDS = """
import socket, sys
for _ in range(100):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", (sys.argv[1], 9))
"""


def test_dates_that_come_are_told_on_the_second_and_at_once(
    topology: Topology, tmp_path: Path
) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.start()
    names = {f"p{number}" for number in range(3)}
    keys = {}
    for name in names:
        server.add_peer(name)
        keys[name] = server.peer_status(name)["public_key"]
    listener = Listener(server, program("python"), "-c", LISTEN, server.name)
    date = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=6)
    for name in names:
        server.peer("set", name, "--expires", date.isoformat())
    told = [listener.event() for _ in range(6)]
    assert [event["kind"] for _, event in told] == ["expired"] * 3 + ["removed"] * 3
    expired = told[:3]
    assert {(event["name"], event["public_key"]) for _, event in expired} == set(keys.items())
    for _, event in expired:
        assert (event["cause"], event["endpoint"], event["lost"]) == ("date", None, 0)
        late = datetime.fromisoformat(event["at"].replace("Z", "+00:00")) - date
        assert timedelta() <= late < timedelta(seconds=1)
    assert min(delay for delay, _ in expired) < 0.1
    server.peer("enable", "p0", "--expires", "1h")
    _, event = listener.event()
    assert (event["kind"], event["name"]) == ("added", "p0")


def test_the_last_address_is_told_by_whomever_it_was_given_out(
    topology: Topology, tmp_path: Path
) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.run("server", "init", server.name)
    network = server.status()["addresses"][0].rsplit(".", 1)[0]
    server.rewrite(
        ("ranges = []", f'ranges = ["{network}.100-{network}.102"]'),
        ("reserved = []", f'reserved = ["{network}.101"]'),
    )
    server.start()
    listener = Listener(server, program("python"), "-c", LISTEN, server.name)
    given = [server.add_peer(name) for name in ("a", "b")]
    for number, configuration in zip((100, 102), given, strict=True):
        assert f"Address = {network}.{number}/32" in configuration
    refused = server.peer("add", "c", check=False)
    assert (refused.returncode, refused.stderr) == (
        1,
        f"error: no address is free in {network}.0/24, as pool.ranges and pool.reserved limit it; "
        "remove a peer, or change those\n",
    )
    by_hand = server.add_peer("c", "--address", f"{network}.101")
    assert f"Address = {network}.101/32" in by_hand
    server.peer("remove", "a")
    server.add_peer("d")
    told = [listener.event() for _ in range(7)]
    limits = [event for _, event in told if event["kind"] == "limit"]
    assert [(event["kind"], event["name"]) for _, event in told if event not in limits] == [
        ("added", "a"),
        ("added", "b"),
        ("added", "c"),
        ("removed", "a"),
        ("added", "d"),
    ]
    limit, _ = limits
    assert (limit["cause"], limit["public_key"]) == ("addresses", None)
    assert f"{network}.0/24" in limit["detail"]


def test_connections_that_are_refused_are_told(network: Network) -> None:
    hosts, server = network.hosts, network.server
    server.rewrite(("# connection_limit = 50", "connection_limit = 2"))
    server.run("server", "reload", server.name)
    listener = Listener(server, program("python"), "-c", LISTEN, server.name)
    hosts.a.run([sys.executable, "-c", SENDS, network.ipv4])
    _, event = listener.event()
    assert (event["kind"], event["cause"]) == ("limit", "connections")
    assert "connection_limit = 2" in event["detail"]
