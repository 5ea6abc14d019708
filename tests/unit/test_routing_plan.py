"""Routes and rules from settings and peers; pure."""

from dataclasses import replace
from datetime import datetime, timezone
from ipaddress import ip_address, ip_network
from typing import Any

from wgbind.keys import PrivateKey
from wgbind.net.route import Route
from wgbind.net.rule import Block
from wgbind.net.uplink import Uplink
from wgbind.server.routing_plan import Plan, needs_rules, plan
from wgbind.settings.model import ServerSettings
from wgbind.store.peer import Peer

BLOCK = Block(0)
EXIT, ETH1, ETH2 = (BLOCK.table(number) for number in (1, 2, 3))
UPLINKS = {
    "eth0": Uplink([ip_address("198.18.0.2")], {4: ip_address("198.18.0.1")}),
    "eth1": Uplink([ip_address("198.18.1.2"), ip_address("fd01::2")], {4: None}),
}
PEER = Peer(
    server="wg7",
    name="site",
    public_key=PrivateKey.generate().public_key(),
    preshared_key=None,
    addresses=(ip_address("10.8.0.2"),),
    routed_networks=(),
    groups=frozenset(),
    endpoint=None,
    persistent_keepalive=0,
    private_key=None,
    created_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
)


def planned(*behind: str, routing: dict[str, Any] | None = None, **sections: Any) -> Plan:
    settings = ServerSettings.model_validate(
        {"interface": {"addresses": ["10.8.0.1/24", "fd08::1/64"]}, "routing": routing or {}}
        | sections
    )
    block = BLOCK if needs_rules(settings.routing) else None
    peers = [replace(PEER, routed_networks=tuple(map(ip_network, behind)))]
    return plan("wg7", settings, peers, block, UPLINKS)


def rules(found: Plan, version: int = 4) -> list[str]:
    """The rules for a version of IP in the order of their steps."""
    chosen = [rule for rule in found.rules if rule.version == version]
    return [
        str(rule).removeprefix("IPv6 ")
        for rule in sorted(chosen, key=lambda rule: (rule.step, str(rule)))
    ]


def routes(found: Plan, table: int = 254) -> list[str]:
    return [str(route) for route in found.routes if route.table == table]


def test_without_ways_of_their_own_there_are_routes_only() -> None:
    found = planned("10.9.0.0/24", "10.8.0.128/25", "0.0.0.0/0", "fd90::/48")
    assert found.rules == ()
    assert found.routes == (
        Route(ip_network("10.9.0.0/24"), "wg7"),
        Route(ip_network("fd90::/48"), "wg7"),
    )


def test_table_metric_and_mark() -> None:
    routing = {"table": 100, "metric": 7, "fwmark": 0x64}
    found = planned("10.9.0.0/24", "0.0.0.0/0", routing=routing)
    assert routes(found, 100) == [
        "10.9.0.0/24 table 100 metric 7",
        "0.0.0.0/0 table 100 metric 7",
    ]
    assert rules(found) == rules(found, 6) == ["from all fwmark 0x64/0xffffffff lookup 100"]
    assert not needs_rules(ServerSettings.model_fields["routing"].default)


def test_answers_leave_by_the_uplink_that_was_asked() -> None:
    found = planned(routing={"uplinks": {"eth1": [], "eth2": ["198.18.2.1", "fd02::1"]}})
    assert routes(found, ETH1) == [
        f"0.0.0.0/0 table {ETH1}",
        f"unreachable 0.0.0.0/0 table {ETH1} metric 4294967295",
        f"unreachable ::/0 table {ETH1} metric 4294967295",
    ]
    assert routes(found, ETH2)[:2] == [
        f"0.0.0.0/0 via 198.18.2.1 dev eth2 table {ETH2}",
        f"::/0 via fd02::1 dev eth2 table {ETH2}",
    ]
    assert rules(found) == [
        "from 198.18.1.2/32 lookup main suppress_prefixlength 0",
        "from all iif wg7 lookup main suppress_prefixlength 0",
        f"from 198.18.1.2/32 lookup {ETH1}",
        f"from all iif wg7 fwmark 0x2000000/0xff000000 lookup {ETH1}",
        f"from all iif wg7 fwmark 0x3000000/0xff000000 lookup {ETH2}",
    ]


def test_exit_through_a_peer() -> None:
    policy = {"networks": {"lan": ["192.168.7.0/24"], "dmz": {"prefixes": ["fd07::/64"]}}}
    routing = {"exit": ["peers", "host", "lan"]}
    found = planned("0.0.0.0/0", routing=routing, policy=policy)
    assert routes(found) == []
    assert routes(found, EXIT) == [
        f"0.0.0.0/0 table {EXIT}",
        f"unreachable 0.0.0.0/0 table {EXIT} metric 4294967295",
        f"unreachable ::/0 table {EXIT} metric 4294967295",
    ]
    assert rules(found) == [
        "from 192.168.7.0/24 lookup main suppress_prefixlength 0",
        "from all iif lo lookup main suppress_prefixlength 0",
        "from all iif wg7 lookup main suppress_prefixlength 0",
        "from 10.8.0.2/32 iif wg7 lookup main",
        "from 198.18.0.2/32 lookup main",
        "from 198.18.1.2/32 lookup main",
        "from all fwmark 0x5747/0xffffffff lookup main",
        f"from 192.168.7.0/24 lookup {EXIT}",
        f"from all iif lo lookup {EXIT}",
        f"from all iif wg7 lookup {EXIT}",
    ]
    assert "from fd01::2/128 lookup main" in rules(found, 6)


def test_a_group_takes_an_uplink_or_the_exit() -> None:
    routing = {"uplinks": {"eth1": []}, "egress_for": {"guests": "eth1", "staff": "exit"}}
    found = planned(routing=routing, policy={"groups": ["guests", "staff"]})
    marked = [rule for rule in rules(found) if "fwmark" in rule]
    assert marked == [
        f"from all iif wg7 fwmark 0x1000000/0xff000000 lookup {EXIT}",
        f"from all iif wg7 fwmark 0x2000000/0xff000000 lookup {ETH1}",
    ]
