"""Events of a running server: in order, at once, in every form that they are to be had in."""

import json
import re
import select
import subprocess
import time
from pathlib import Path

from e2e.listening import LISTEN, Listener
from harness import Client, Topology, Wgbind, connect, ping, program, reach, wg
from wgbind import PrivateKey

DOCUMENTATION = Path(__file__).parents[2].joinpath("docs", "events.md").read_text()

LISTEN_ASYNC = """
import asyncio, sys, time
from wgbind import Server
async def listen():
    async with Server(sys.argv[1]).events_async() as events:
        print("listening", file=sys.stderr, flush=True)
        async for event in events:
            print(time.time() - event.at.timestamp(), event.model_dump_json(), flush=True)
asyncio.run(listen())
"""

IN_PROCESS = """
import sys
from wgbind import Server
with Server(sys.argv[1]) as server:
    events = server.events()
    server.peers.add("phone")
    print(next(events))
    server.peers.remove("phone")
    print(next(events))
print(list(events))
"""


def test_connect_roam_and_removal_are_told_in_order_and_at_once(
    topology: Topology, tmp_path: Path
) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.run("server", "init", server.name)
    server.rewrite(("rules = []", 'rules = ["allow peers -> host"]'))
    server.start()
    inner = server.status()["addresses"][0].split("/")[0]
    listener = Listener(server, program("python"), "-c", LISTEN, server.name)
    in_asyncio = Listener(server, program("python"), "-c", LISTEN_ASYNC, server.name)
    command = Listener(server, *server.command("server", "events", server.name))

    configuration = server.add_peer("a")
    delay, added = listener.event()
    delays = [delay]
    assert (added["kind"], added["name"], added["cause"]) == ("added", "a", "configuration")

    client = connect(topology.a, configuration, tmp_path, f"{inner}/32")
    reach(topology.a, inner)
    delay, connected = listener.event()
    delays.append(delay)
    place = endpoint(topology, client)
    assert (connected["kind"], connected["cause"]) == ("connected", "peer_handshake")
    assert (connected["name"], connected["endpoint"]) == ("a", place)
    assert connected["public_key"] == server.peer_status("a")["public_key"]

    for port in (20001, 20002):
        # More than one a second would not be told of.
        time.sleep(1.1)
        wg(topology.a, "set", client.interface, "listen-port", str(port))
        assert ping(topology.a, inner, count=1).lost == 0
        delay, roamed = listener.event()
        delays.append(delay)
        assert (roamed["kind"], roamed["cause"]) == ("roamed", "message")
        assert roamed["previous_endpoint"] == place
        place = endpoint(topology, client)
        assert roamed["endpoint"] == place

    server.peer("remove", "a")
    for kind in ("silent", "removed"):
        delay, event = listener.event()
        delays.append(delay)
        assert (event["kind"], event["name"], event["lost"]) == (kind, "a", 0)
    # Some of them find the machine with time for them.
    assert sorted(delays)[1] < 0.1, delays
    server.stop()
    assert listener.rest() == []
    kinds = [json.loads(line.split(maxsplit=1)[1])["kind"] for line in in_asyncio.rest()]
    assert kinds == ["added", "connected", "roamed", "roamed", "silent", "removed"]
    said = [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", "", line) for line in command.rest()]
    outer = topology.a_outer.ipv4
    assert said == [
        "a was added",
        f"a connected from {connected['endpoint']}",
        f"a roamed from {connected['endpoint']} to {outer}:20001",
        f"a roamed from {outer}:20001 to {outer}:20002",
        "a is silent",
        "a was removed",
    ]
    log = (server.runtime / f"{server.name}.log").read_text()
    assert re.findall(r"INFO wgbind.server.events: (.*)", log) == said[1:-1]


def endpoint(topology: Topology, client: Client) -> str:
    """Return where the server sees the client."""
    port = wg(topology.a, "show", client.interface, "listen-port").strip()
    return f"{topology.a_outer.ipv4}:{port}"


def test_a_peer_that_wg_adds_and_removes_is_told_of(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.start()
    listener = Listener(server, *server.command("server", "events", server.name, "--json"))
    key = str(PrivateKey.generate().public_key())
    wg(topology.server, "set", server.name, "peer", key, "endpoint", "[fd00::1]:9")
    wg(topology.server, "set", server.name, "peer", key, "remove")
    server.stop()
    told = [json.loads(line) for line in listener.rest()]
    assert [(event["kind"], event["public_key"]) for event in told] == [
        ("added", key),
        ("removed", key),
    ]
    # It gets a name when the server takes it over, which may be before any of this is told.
    assert all(event["name"] is None or event["name"].startswith("wg-") for event in told)
    assert told[0]["endpoint"] == "[fd00::1]:9"


def test_the_process_of_the_server_may_listen_too(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    ran = topology.server.run([program("python"), "-c", IN_PROCESS, server.name], env=server.env)
    assert ran.stdout.splitlines() == ["phone was added", "phone was removed", "[]"]


def test_the_examples_of_the_documentation_run(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.start()
    key = str(PrivateKey.generate().public_key())
    listeners = []
    examples = re.findall(r"```python\n(.*?)```", DOCUMENTATION, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        code = example.replace('"wg0"', f'"{server.name}"')
        listener = server.namespace.popen(
            [program("python"), "-c", code], env=server.env, stdout=subprocess.PIPE
        )
        assert listener.stdout is not None
        # They do not say when they begin to listen.
        while not select.select([listener.stdout], [], [], 0.2)[0]:
            wg(topology.server, "set", server.name, "peer", key)
            wg(topology.server, "set", server.name, "peer", key, "remove")
        assert re.search("added|removed", listener.stdout.readline())
        listeners.append(listener)
    server.stop()
    assert [listener.wait(60) for listener in listeners] == [0, 0]


def test_a_stopped_server_has_no_events(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.run("server", "init", server.name)
    refused = server.run("server", "events", server.name, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"error: {server.name} does not run")
