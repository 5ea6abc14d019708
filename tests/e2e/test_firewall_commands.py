"""`wgbind firewall`: rules are checked, planned and shown before and while they are in force."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Namespace, Wgbind

POLICY = [
    ("groups = []", 'groups = ["staff"]'),
    (
        "rules = []",
        'rules = [\n  "allow peer:alice -> lan : ssh, ping",\n'
        '  "deny peers -> internet : smtp log",\n]',
    ),
    ("[policy.networks]", '[policy.networks]\nlan = ["192.168.7.0/24"]'),
    ("forwards = []", 'forwards = ["tcp/8080 -> peer:bob : 80"]'),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Wgbind]:
    """A server that is stopped, with two peers, on a host with a LAN and an uplink."""
    with Namespace("server") as host:
        for name, address in (("lan0", "192.168.7.1/24"), ("up0", "198.18.0.2/28")):
            host.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-peer")
            host.add_address(name, address)
            for end in (name, f"{name}-peer"):
                host.ip("link", "set", end, "up")
        host.ip("route", "add", "default", "via", "198.18.0.1")
        server = Wgbind(host, tmp_path)
        server.run("server", "init", server.name)
        for name in ("alice", "bob"):
            server.peer("add", name)
        yield server


def firewall(server: Wgbind, command: str, *arguments: str) -> Any:
    """Run `wgbind firewall COMMAND --json`; return what it prints."""
    options = ("--server", server.name, "--json")
    return json.loads(server.run("firewall", command, *options, *arguments).stdout)


def without_counts(shown: Any) -> Any:
    """Return it without what goes on by itself: the host reports its multicast groups, say."""
    rules = [{**rule, "packets": None, "bytes": None} for rule in shown["rules"]]
    return {**shown, "rules": rules, "refused": None}


def explained(server: Wgbind, question: str) -> tuple[bool, int | None, bool]:
    """Return whether it passes, by which rule, and whether it is translated."""
    found = firewall(server, "explain", question)
    return found["allowed"], found["rule"] and found["rule"]["number"], found["nat"]


def test_from_the_first_rule_to_the_one_in_force(server: Wgbind) -> None:
    server.start()
    assert firewall(server, "check") == []
    assert firewall(server, "plan")["rules"] == []
    in_force = firewall(server, "show")
    assert [rule["text"] for rule in in_force["rules"]] == [
        "allow peers -> internet",
        "allow peers -> host : ping",
        "allow host -> peers",
    ]

    server.rewrite(*POLICY)
    planned = firewall(server, "plan")
    assert [(rule["change"], rule["number"]) for rule in planned["rules"]] == [
        ("added", 1),
        ("added", 2),
    ]
    reach = {(each["source"], each["destination"]): each for each in planned["reach"]}
    assert reach["peer:alice", "lan"]["gained"] == "tcp/22, ping"
    assert reach["other peers", "internet"]["lost"] == "tcp/25"
    assert without_counts(firewall(server, "show")) == without_counts(in_force)
    assert explained(server, "alice -> 192.168.7.9:22") == (False, None, False)

    server.run("server", "reload", server.name)
    assert firewall(server, "plan")["reach"] == []
    shown = firewall(server, "show")
    assert (shown["running"], len(shown["rules"]), len(shown["forwards"])) == (True, 5, 1)
    assert explained(server, "alice -> 192.168.7.9:22") == (True, 1, True)
    assert explained(server, "bob -> 192.168.7.9:22") == (False, None, False)
    assert explained(server, "bob -> internet:25") == (False, 2, False)
    assert explained(server, "bob -> internet") == (True, 3, True)
    assert explained(server, "192.168.7.9 -> bob") == (False, None, False)
    assert explained(server, "internet -> host:8080") == (True, None, False)
    words = ("alice", "->", "host:22")
    printed = server.run("firewall", "explain", "--server", server.name, *words)
    assert printed.stdout.startswith("denied: alice (")
    assert "rule 4 is for these two, but for ping" in printed.stdout


def test_rules_count_what_they_decide(server: Wgbind) -> None:
    server.rewrite(*POLICY, ("peers -> internet : smtp log", "host -> peer:bob log"))
    server.start()

    def counted() -> dict[str, int]:
        rules = server.status()["rules"]
        assert [rule["text"] for rule in firewall(server, "show")["rules"]] == [
            rule["text"] for rule in rules
        ]
        return {rule["text"]: rule["packets"] for rule in rules}

    before = counted()
    addresses = {name: ips[0] for name, (_, ips) in server.configured_peers().items()}
    for name, count in (("alice", 3), ("bob", 2)):
        target = addresses[name].partition("/")[0]
        argv = ["ping", "-c", str(count), "-i", "0.2", "-W", "1", target]
        server.namespace.run(argv, check=False)
    after = counted()
    grown = {text: after[text] - before[text] for text in after if after[text] != before[text]}
    assert grown.pop("deny host -> peer:bob log") == 2
    # Packets of one connection are counted once; IPv6 of the host itself comes by this way, too.
    assert grown.pop("allow host -> peers") >= 1
    assert grown == {}
    printed = server.run("server", "status", server.name).stdout
    assert "deny host -> peer:bob log" in printed


def test_stopped_server_answers_by_its_settings(server: Wgbind) -> None:
    server.rewrite(*POLICY)
    assert not firewall(server, "show")["running"]
    planned = firewall(server, "plan")
    assert (planned["running"], len(planned["rules"])) == (False, 5)
    assert {each["lost"] for each in planned["reach"]} == {"nothing"}
    found = firewall(server, "explain", "alice -> 192.168.7.9:22")
    assert found["allowed"]
    assert "is stopped" in found["remarks"][-1]


def test_client_that_sends_elsewhere_is_remarked(server: Wgbind) -> None:
    server.rewrite(*POLICY, ('allowed_ips = "full"', 'allowed_ips = ["10.0.0.0/8"]'))
    remarks = firewall(server, "explain", "alice -> 192.168.7.9")["remarks"]
    assert "alice itself does not send to 192.168.7.9" in remarks[0]


def test_mistakes_are_refused_and_the_rules_stay(server: Wgbind) -> None:
    server.start()
    server.rewrite(*POLICY)
    server.run("server", "reload", server.name)
    in_force = firewall(server, "show")
    listing = ["nft", "--stateless", "list", "table", "inet", f"wgbind_{server.name}"]
    table = server.namespace.run(listing).stdout
    server.rewrite(
        ("allow peer:alice -> lan", "allow stuff -> lan"),
        ("peers -> internet : smtp log", "peers -> internet : tcp/70000"),
    )

    checked = server.run("firewall", "check", "--server", server.name, check=False)
    assert checked.returncode == 2
    rules = server.settings.read_text().splitlines().index("rules = [") + 1
    first, second = checked.stdout.splitlines()
    assert first.startswith(f"{server.settings}:{rules + 1}: error: key policy.rules: ")
    assert first.endswith("there is no group or network 'stuff'; did you mean staff?")
    assert second.startswith(f"{server.settings}:{rules + 2}: error: key policy.rules: ")
    assert second.endswith("there is no port 70000; use 1 to 65535")

    refused = server.run("server", "reload", server.name, check=False)
    assert refused.returncode == 2
    assert f"{server.settings}:{rules + 1}: key policy.rules" in refused.stderr
    assert without_counts(firewall(server, "show")) == without_counts(in_force)
    assert server.namespace.run(listing).stdout == table


def test_warnings_name_their_line_and_are_no_failure(server: Wgbind) -> None:
    server.rewrite(
        *POLICY,
        (
            "peers -> internet : smtp log",
            'peers -> internet : smtp log",\n  "deny peer:carol -> internet : smtp", '
            '"deny peer:carol -> internet : imaps',
        ),
    )
    rules = server.settings.read_text().splitlines().index("rules = [") + 1
    found = firewall(server, "check")
    assert {(each["severity"], each["place"]) for each in found} == {
        ("warning", f"{server.settings}:{rules + 3}")
    }
    (shadowed, missing) = (each["message"] for each in found)
    assert "never decides" in shadowed
    assert "there is no peer 'carol'" in missing
    server.start()
    reloaded = server.run("server", "reload", server.name)
    assert reloaded.stderr.splitlines() == [
        f"{each['place']}: warning: {each['message']}" for each in found
    ]


def test_text_for_people(server: Wgbind) -> None:
    for command in ("show", "check", "plan"):
        printed = server.run("firewall", command, "--server", server.name).stdout
        assert printed
        assert "{" not in printed
