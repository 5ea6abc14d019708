"""What in a policy is warned of, and where."""

from typing import Any

import pytest

from unit.policies import policy
from wgbind.firewall.check import findings
from wgbind.settings.address import Address


def found(*rules: str, **settings: Any) -> list[tuple[tuple[str | int, ...], str]]:
    def is_own(address: Address) -> bool:
        return str(address) == "192.168.7.1"

    made = policy(*rules, **settings)
    checked = findings(made, is_own=is_own, interfaces=["lo", "eth0", "eth1"])
    return [(finding.place, finding.message) for finding in checked]


def test_nothing_to_warn_of() -> None:
    assert (
        found(
            "deny guests -> lan : ssh",
            "allow staff, peer:bob -> lan, 10.8.0.2 : ssh, ping",
            "allow peers -> internet",
            preset=["gateway", "site"],
            forwards=["tcp/80 -> peer:bob", "tcp/81 -> 10.20.1.1"],
        )
        == []
    )


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (["allow peers -> lan", "deny staff -> lan : ssh"], "rule 2 (deny staff -> lan : tcp/22)"),
        (["allow any -> any", "deny peer:bob -> host"], "by rule 1 (allow any -> any); move it up"),
        (["allow staff -> lan : tcp", "allow staff -> lan : ssh log"], "never decides"),
        (["deny guests -> lan", "deny peer:bob -> lan"], "rule 1"),
        (["deny 10.8.0.0/24 -> lan", "deny 10.8.0.0/28 -> lan"], "rule 1"),
        (
            ["deny staff -> lan", "deny guests -> lan", "allow staff, guests -> lan"],
            "rule 1 (deny staff -> lan), 2 (deny guests -> lan)",
        ),
        (["deny peers -> lan", "allow 10.8.0.0/24 -> lan"], "rule 1"),
        (
            ["deny 192.168.7.0/24 -> peers", "allow lan -> staff", "allow lan -> staff : ssh"],
            "2 (allow lan -> staff); move it up",
        ),
        (
            [
                "deny 10.8.0.0/25 -> lan",
                "allow any -> dc",
                "deny 10.8.0.128/25 -> lan",
                "allow 10.8.0.0/24 -> lan : tcp",
            ],
            "rule 1 (deny 10.8.0.0/25 -> lan), 3 (deny 10.8.0.128/25 -> lan)",
        ),
        (
            [
                "deny staff -> lan : tcp/1-99",
                "deny staff -> lan : tcp/90-200",
                "allow staff -> lan : ssh, tcp/50-150",
            ],
            "rule 1",
        ),
        (
            [
                "deny peers -> 192.168.7.0/24 : icmp",
                "allow peers -> 192.168.0.0/16 : tcp, udp",
                "allow peers -> 192.168.7.64/26 : tcp/80, ping",
            ],
            "2 (allow peers",
        ),
        (
            ["deny peers -> any", "deny any -> peers", "allow any -> any"],
            "1 (deny peers -> any), 2",
        ),
        (["deny any -> 0.0.0.0/0", "deny any -> ::/0", "allow staff -> internet"], "::/0); move"),
    ],
)
def test_rule_that_never_decides(rules: list[str], words: str) -> None:
    ((place, message),) = found(*rules)
    assert place == ("rules", len(rules) - 1)
    assert words in message


@pytest.mark.parametrize(
    "rules",
    [
        ["deny staff -> lan : ssh", "allow staff -> lan"],
        ["deny staff -> lan", "allow peers -> lan"],
        ["deny peer:alice -> lan", "allow staff -> lan"],
        ["deny 10.8.0.0/28 -> lan", "deny 10.8.0.0/24 -> lan"],
        ["deny 10.8.0.0/24 -> lan", "deny staff -> lan"],  # they have IPv6, too
        ["allow staff -> lan : tcp/1-100", "deny staff -> lan : tcp/100-101"],
        [
            "deny 10.8.0.0/25 -> lan : tcp",
            "deny 10.8.0.128/25 -> lan : udp",
            "deny 10.8.0.0/24 -> lan",
        ],
        ["deny peer:alice -> lan", "deny peer:carol -> lan", "allow staff -> lan"],  # it may grow
        ["deny 0.0.0.0/0 -> lan", "allow staff -> lan"],
        ["deny staff -> lan : tcp", "deny staff -> lan : udp, icmp", "deny staff -> lan"],
        ["deny peers -> lan", "deny peers -> 192.168.7.0/24"],  # which may be this host's, too
        ["deny 172.16.0.0/16 -> staff : tcp", "deny dc -> guests", "deny dc -> peers"],
    ],
)
def test_rule_that_still_decides(rules: list[str]) -> None:
    assert found(*rules) == []


@pytest.mark.parametrize(
    ("rule", "settings", "place", "words"),
    [
        ("allow peer:dave -> lan", {}, ("rules", 0), "there is no peer 'dave'"),
        (
            "allow admins -> lan",
            {"groups": ["staff", "guests", "admins"]},
            ("rules", 0),
            "'admins'",
        ),
        ("allow peers, lan -> internet", {}, ("rules", 0), "lan -> internet can never match"),
        ("allow fd08::2 -> dc", {}, ("rules", 0), "one end has IPv4, the other IPv6"),
        ("allow peer:bob -> fd07::7", {}, ("rules", 0), "one end has IPv4, the other IPv6"),
        ("allow peers -> 192.168.7.1 : ssh", {}, ("rules", 0), "one address of this host; `host`"),
        ("allow peers -> 10.8.0.1 : ssh", {}, ("rules", 0), "one address of this host"),
        ("allow 10.8.0.77 -> lan", {}, ("rules", 0), "10.8.0.77 is in the tunnel's network"),
        ("", {"forwards": ["tcp/1 -> peer:eve"]}, ("forwards", 0), "there is no peer 'eve'"),
        (
            "",
            {"forwards": ["tcp/1 -> fd99::1"]},
            ("forwards", 0),
            "fd99::1 is no address of a peer",
        ),
        ("", {"forwards": ["tcp/20-30 -> peer:bob"]}, ("forwards", 0), "this host's own ssh"),
        ("", {"preset": ["site"], "networks": {}}, ("preset",), "none in [policy.networks]"),
        ("", {"groups": ["staff"]}, ("groups",), "peer bob is in 'guests', which is no group"),
        (
            "",
            {"networks": {"x": {"prefixes": ["172.16.0.0/16"], "interface": "eth7"}}},
            ("networks", "x"),
            "no interface 'eth7'",
        ),
        (
            "",
            {"networks": {"x": {"prefixes": ["172.16.0.0/16"], "interface": "wg0"}}},
            ("networks", "x"),
            "wg0 is the tunnel itself",
        ),
        (
            "",
            {"networks": {"x": ["10.20.7.0/24"]}},
            ("networks", "x"),
            "10.20.7.0/24 overlaps 10.20.0.0/16 behind peer bob",
        ),
    ],
)
def test_what_is_warned_of(
    rule: str, settings: dict[str, Any], place: tuple[str | int, ...], words: str
) -> None:
    where, message = found(*filter(None, [rule]), **settings)[0]
    assert where == place
    assert words in message
