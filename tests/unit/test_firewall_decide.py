"""What a policy decides: each kind of reference, the order, the presets."""

from dataclasses import replace
from typing import Any

import pytest

from unit.policies import MEMBERS, end, flow, policy
from wgbind.errors import InputError
from wgbind.firewall.decide import Decision, decide
from wgbind.firewall.policy import meaning


@pytest.mark.parametrize(
    ("reference", "matches", "differs"),
    [
        ("any", ["10.8.0.2", "10.20.1.1", "8.8.8.8@eth0", "host"], []),
        ("host", ["host"], ["10.8.0.2", "8.8.8.8@eth0"]),
        ("peers", ["10.8.0.2", "10.8.0.77", "10.20.9.9", "8.8.8.8"], ["host", "10.8.0.2@eth0"]),
        ("internet", ["8.8.8.8@eth0"], ["8.8.8.8@eth1", "192.168.7.1@eth0", "8.8.8.8", "host"]),
        ("staff", ["10.8.0.2", "fd08::2", "10.8.0.4"], ["10.8.0.3", "10.8.0.77", "8.8.8.8"]),
        ("guests", ["10.8.0.3", "10.20.3.4", "10.8.0.4"], ["10.8.0.2", "10.21.0.1"]),
        ("peer:exit", ["10.8.0.5", "8.8.8.8"], ["10.8.0.77", "10.20.0.1", "8.8.8.8@eth0"]),
        ("lan", ["192.168.7.9@eth0", "192.168.7.9@eth7", "fd07::1@eth0"], ["192.168.7.9"]),
        ("dc", ["172.16.1.1@eth1"], ["172.16.1.1@eth0", "172.17.0.1@eth1"]),
        ("10.8.0.0/30", ["10.8.0.2", "10.8.0.2@eth0", "host"], ["10.8.0.4", "fd08::2"]),
        ("fd08::2", ["fd08::2"], ["fd08::3", "10.8.0.2"]),
    ],
)
def test_references(reference: str, matches: list[str], differs: list[str]) -> None:
    for text in (*matches, *differs):
        peer = "fd08::2" if ":" in text else "10.8.0.4"
        found = []
        if end(text).zone != "host":
            found.append(decide(policy(f"allow {reference} -> any"), flow(text, peer)).allowed)
        found.append(decide(policy(f"allow any -> {reference}"), flow(peer, text)).allowed)
        if reference not in {"internet", "lan", "dc", "host"}:  # or the rule could never match
            found.append(decide(policy(f"deny {reference} -> peers"), flow(text, peer)).number == 1)
        assert set(found) == {text in matches}, text


@pytest.mark.parametrize(
    ("service", "matches", "differs"),
    [
        ("any", ["tcp/1", "udp/65535", "icmp", "ping"], []),
        ("tcp", ["tcp/0", "tcp/65535"], ["udp/1", "icmp", "ping"]),
        ("tcp/22", ["tcp/22"], ["tcp/21", "tcp/23", "udp/22"]),
        ("udp/10-12", ["udp/10", "udp/12"], ["udp/9", "udp/13", "tcp/10"]),
        ("icmp", ["icmp", "ping"], ["tcp/1"]),
        ("ping", ["ping"], ["icmp", "udp/1"]),
        ("dns", ["tcp/53", "udp/53"], ["tcp/54"]),
    ],
)
def test_services(service: str, matches: list[str], differs: list[str]) -> None:
    made = policy(f"allow staff -> lan : {service}")
    for text in (*matches, *differs):
        found = decide(made, flow("10.8.0.2", "192.168.7.1@eth0", text))
        assert found.allowed is (text in matches), text


def test_first_rule_that_matches_decides() -> None:
    made = policy(
        "deny staff -> lan : tcp/22",
        "allow staff -> lan",
        "deny any -> any",
        preset=["hub"],
    )
    denied = decide(made, flow("10.8.0.2", "192.168.7.1@eth0"))
    assert denied == Decision(False, made.settings.rules[0], 1)
    assert decide(made, flow("10.8.0.2", "192.168.7.1@eth0", "tcp/80")).number == 2
    assert decide(made, flow("10.8.0.2", "10.8.0.3")).number == 3
    assert decide(policy("allow staff -> lan"), flow("10.8.0.3", "192.168.7.1@eth0")) == Decision(
        allowed=False
    )


def test_spoofed_sources_are_denied_before_any_rule() -> None:
    everything = replace(policy("allow any -> any"), members=MEMBERS[:3])  # not who has it all
    for source, allowed in (("10.8.0.77", True), ("10.20.1.1", True), ("10.21.0.1", False)):
        assert decide(everything, flow(source, "host")).allowed is allowed
    for own in ("10.8.0.1", "fd08::1"):
        assert decide(everything, flow(own, "10.8.0.2")) == Decision(allowed=False)


@pytest.mark.parametrize("ways", [("8.8.8.8@eth0", "host"), ("host", "8.8.8.8@eth0")])
def test_what_passes_by_the_tunnel_is_not_decided(ways: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="nothing goes through the tunnel"):
        decide(policy(), flow(*ways))


PRESETS = {
    "gateway": {"to internet", "ping host", "from host"},
    "hub": {"to peer", "ping host", "from host"},
    "isolated": {"from host"},
    "site": {"to peer", "to lan", "from lan", "ping host", "from host"},
}

WAYS = {
    "to internet": flow("10.8.0.2", "8.8.8.8@eth0"),
    "to elsewhere": flow("10.8.0.2", "8.8.8.8@eth9"),
    "to lan": flow("10.8.0.2", "192.168.7.1@eth0"),
    "to peer": flow("10.8.0.2", "10.20.0.1"),
    "to host": flow("10.8.0.2", "host"),
    "ping host": flow("10.8.0.2", "host", "ping"),
    "from host": flow("host", "10.8.0.2"),
    "from lan": flow("192.168.7.1@eth0", "10.8.0.2"),
    "from internet": flow("8.8.8.8@eth0", "10.8.0.2"),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset: str) -> None:
    made = policy(preset=[preset])
    decisions = {way: decide(made, probe) for way, probe in WAYS.items()}
    assert {way for way, found in decisions.items() if found.allowed} == PRESETS[preset]
    for found in decisions.values():
        assert found.rule is None or found.rule.name == f"preset {preset}"


def test_presets_add_up_and_follow_the_operators_rules() -> None:
    made = policy("deny peers -> internet : smtp", preset=["gateway", "hub"])
    allowed = {way for way, probe in WAYS.items() if decide(made, probe).allowed}
    assert allowed == PRESETS["gateway"] | PRESETS["hub"]
    assert decide(made, flow("10.8.0.2", "8.8.8.8@eth0", "tcp/25")).number == 1


def test_egress_of_any_is_any_but_the_tunnel() -> None:
    made = policy(preset=["gateway"], egress=None)
    assert decide(made, WAYS["to elsewhere"]).allowed
    assert not decide(made, WAYS["to lan"]).allowed


def test_nat_by_default_and_as_said() -> None:
    networks = {"lan": ["192.168.7.0/24"], "dc": {"prefixes": ["10.9.0.0/16"], "nat": True}}
    for preset, lan in (("gateway", True), ("hub", True), ("site", False)):
        made = policy(preset=[preset], networks=networks)
        assert (made.nat("lan"), made.nat("dc")) == (lan, True)


def test_meaning_in_a_line() -> None:
    def line(**settings: Any) -> str:
        return meaning(policy(**settings).settings)

    assert line(preset="gateway", networks={}) == (
        "peers reach the internet with this host's address, this host by ping only; not each other"
    )
    assert line(preset="isolated") == "peers reach nothing"
    assert "lan, dc and back" in line(preset="site")
    assert meaning(policy("allow staff -> lan").settings).endswith("; before that 1 rule")
