"""What a server tells when dates come and when there is no more of something."""

import sys
from datetime import datetime, timedelta
from pathlib import Path

from e2e.listening import LISTEN, Listener
from harness import Network, Topology, Wgbind, program

SENDS = """
import socket, sys
for _ in range(100):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", (sys.argv[1], 9))
"""

SET_DATES = """
import sys
from datetime import datetime, timedelta, timezone
import wgbind
with wgbind.connect(sys.argv[1]) as server:
    first = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=4)
    dates = {name: first + timedelta(seconds=number) for number, name in enumerate(sys.argv[2:])}
    server.peers.update_many({name: {"expires_at": date} for name, date in dates.items()})
print(*(date.isoformat() for date in dates.values()))
"""
"""In one transaction, and by a process that has all that it needs: that it is done before the first
date does not depend on how busy the machine is."""


def test_dates_that_come_are_told_on_the_second_and_at_once(
    topology: Topology, tmp_path: Path
) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.start()
    names = ["p0", "p1", "p2"]
    keys = {}
    for name in names:
        server.add_peer(name)
        keys[name] = server.peer_status(name)["public_key"]
    listener = Listener(server, program("python"), "-c", LISTEN, server.name)
    argv = [program("python"), "-c", SET_DATES, server.name, *names]
    dates = server.namespace.run(argv, env=server.env).stdout.split()
    told = [listener.event() for _ in range(6)]
    for name, date in zip(names, dates, strict=True):
        expired, removed = (event for _, event in told if event["name"] == name)
        assert (expired["kind"], removed["kind"]) == ("expired", "removed")
        assert expired["public_key"] == removed["public_key"] == keys[name]
        assert (expired["cause"], expired["endpoint"], expired["lost"]) == ("date", None, 0)
        assert moment(expired["at"]) >= moment(date)
    # Of three dates that come, and of six events, some find the machine with time for them.
    first = (event for _, event in told if event["kind"] == "expired")
    late = [moment(event["at"]) - moment(date) for event, date in zip(first, dates, strict=True)]
    assert min(late) < timedelta(seconds=1)
    assert min(delay for delay, _ in told) < 0.1
    server.peer("enable", "p0", "--expires", "1h")
    _, event = listener.event()
    assert (event["kind"], event["name"]) == ("added", "p0")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


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
