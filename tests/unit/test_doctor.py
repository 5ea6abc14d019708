"""The doctor's judgement of rules, as nft prints them, and of a clock that went back."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import Any

import pytest

from wgbind.doctor import host
from wgbind.doctor.verdict import Packet, Ruleset
from wgbind.keys import PrivateKey
from wgbind.store.peer import Peer

TABLE = {"family": "inet", "table": "t"}
PACKET = Packet(
    version=4,
    hooks=("forward",),
    protocol="udp",
    iif="wg7",
    oif="eth0",
    source=ip_address("10.8.0.2"),
    ports={"dport": 53},
)


def meta(key: str) -> dict[str, Any]:
    return {"meta": {"key": key}}


def payload(protocol: str, field: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": field}}


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def judged(
    *rules: list[Any],
    policy: str = "accept",
    others: dict[str, list[list[Any]]] | None = None,
    elements: list[dict[str, Any]] | None = None,
    packet: Packet = PACKET,
) -> tuple[int | None, bool] | None:
    """Return which rule drops a packet, by its number, and whether that is certain."""
    base = {"name": "base", "type": "filter", "hook": "forward", "prio": 0, "policy": policy}
    chains = {"base": list(rules), **(others or {})}
    objects = [*(elements or []), {"chain": {**TABLE, **base}}]
    objects += [{"chain": {**TABLE, "name": name}} for name in chains if name != "base"]
    numbers = iter(range(100))
    objects += [
        {"rule": {**TABLE, "chain": chain, "handle": next(numbers), "expr": each}}
        for chain, expressions in chains.items()
        for each in expressions
    ]
    found = list(Ruleset(objects).culprits(packet))
    assert len(found) <= 1
    return (found[0].handle, found[0].certain) if found else None


ACCEPT, DROP = {"accept": None}, {"drop": None}
SADDR, DPORT = payload("ip", "saddr"), payload("udp", "dport")
PREFIX = {"prefix": {"addr": "10.8.0.0", "len": 24}}


@pytest.mark.parametrize(
    ("statement", "matches"),
    [
        (match(meta("iifname"), "wg7"), True),
        (match(meta("iifname"), "wg*"), True),
        (match(meta("iifname"), "eth*"), False),
        (match(meta("iifname"), "wg7", "!="), False),
        (match(meta("oifname"), {"set": ["eth0", "eth1"]}), True),
        (match(meta("nfproto"), "ipv6"), False),
        (match(meta("l4proto"), ["tcp", "udp"]), True),
        (match(meta("mark"), 7), None),
        (match(SADDR, PREFIX), True),
        (match(SADDR, {"range": ["10.8.0.3", "10.8.0.9"]}), False),
        (match(payload("ip6", "saddr"), "fd00::1"), False),
        (match(payload("ip", "daddr"), "192.0.2.1"), None),
        (match(DPORT, {"set": [22, {"range": [50, 60]}]}), True),
        (match(payload("tcp", "dport"), {"range": [1, 65535]}), False),
        (match(payload("th", "dport"), 53), True),
        (match({"ct": {"key": "state"}}, ["established", "related"], "in"), False),
        (match({"concat": [meta("iifname"), DPORT]}, {"set": [{"concat": ["wg7", 53]}]}), True),
        (match({"concat": [meta("iifname"), DPORT]}, {"set": [{"concat": ["wg7", 80]}]}), False),
        (match(DPORT, {"set": [{"elem": {"val": 53, "comment": "dns"}}]}), True),
        ({"xt": {"type": "match", "name": "addrtype"}}, None),
        ({"xt": {"type": "match", "name": "conntrack"}}, False),
        ({"limit": {"rate": 3, "per": "second"}}, None),
        ({"counter": {"packets": 0, "bytes": 0}}, True),
    ],
)
def test_a_match_is_true_or_false_or_unknown(statement: Any, matches: bool | None) -> None:
    drops = judged([statement, DROP])
    passes = judged([statement, ACCEPT], policy="drop")
    # What may be about other packets only drops none of ours; what may let them pass may not.
    assert drops == ((0, True) if matches else None)
    assert passes == (None if matches else (None, matches is False))


def test_jumps_gotos_returns_and_maps() -> None:
    jump, goto = {"jump": {"target": "other"}}, {"goto": {"target": "other"}}
    verdicts = {"set": [["eth0", DROP], ["wg7", jump]]}
    vmap = {"vmap": {"key": meta("iifname"), "data": verdicts}}
    assert judged([jump], [DROP], others={"other": [[{"return": None}], [ACCEPT]]}) == (1, True)
    assert judged([goto], [DROP], others={"other": [[{"counter": None}]]}) is None
    assert judged([goto], [ACCEPT], others={"other": []}, policy="drop") == (None, True)
    assert judged([vmap], others={"other": [[{"reject": None}]]}) == (1, True)
    named = {"map": {**TABLE, "name": "m", "elem": [["wg7", DROP]]}}
    by_name = {"vmap": {"key": meta("iifname"), "data": "@m"}}
    assert judged([by_name], elements=[named]) == (0, True)
    unknown = match(meta("mark"), 1)
    assert judged([unknown, jump], others={"other": [[DROP]]}) is None
    assert judged([unknown, jump], [DROP], others={"other": [[ACCEPT]]}) == (1, False)
    looped = {"jump": {"target": "base"}}
    assert judged([looped], policy="drop") == (None, True)


def test_answers_pass_where_what_is_new_does_not() -> None:
    established = replace(PACKET, state="established")
    state = match({"ct": {"key": "state"}}, ["established", "related"], "in")
    for rule in ([state, ACCEPT], [{"xt": {"type": "match", "name": "conntrack"}}, ACCEPT]):
        assert judged(rule, policy="drop") == (None, True)
        assert judged(rule, policy="drop", packet=established) is None


def test_what_may_return_leaves_the_rest_of_its_chain_unsure() -> None:
    jump, unknown = {"jump": {"target": "other"}}, match(meta("mark"), 1)
    returning = {"other": [[unknown, {"return": None}], [DROP]]}
    assert judged([jump], others=returning) == (2, False)
    assert judged([jump], others={"other": [[unknown, {"return": None}]]}, policy="drop") == (
        None,
        True,
    )
    # ufw-not-local lets return what is for this host, and drops the rest.
    kind = {"xt": {"type": "match", "name": "addrtype"}}
    own = replace(PACKET, oif="")
    assert judged([kind, {"return": None}], [DROP], packet=own) is None
    assert judged([kind, {"return": None}], [DROP]) == (1, False)
    assert judged([kind, DROP], packet=own) is None
    local = match({"fib": {"result": "type", "flags": ["daddr"]}}, "local")
    assert judged([local, DROP], packet=own) == (0, True)
    assert judged([local, DROP]) is None


def test_tables_of_our_own_are_passed_over() -> None:
    chain = {**TABLE, "name": "base", "type": "filter", "hook": "forward", "policy": "drop"}
    assert len(list(Ruleset([{"chain": chain}]).culprits(PACKET))) == 1
    assert list(Ruleset([{"chain": chain}], without=["t"]).culprits(PACKET)) == []
    assert list(Ruleset([{"chain": {**chain, "family": "bridge"}}]).culprits(PACKET)) == []


def test_a_clock_that_went_back() -> None:
    now = datetime.now(timezone.utc)
    peer = Peer(
        server="wg7",
        name="phone",
        public_key=PrivateKey.generate().public_key(),
        preshared_key=None,
        addresses=(ip_address("10.8.0.2"),),
        routed_networks=(),
        groups=frozenset(),
        endpoint=None,
        persistent_keepalive=0,
        private_key=None,
        created_at=now - timedelta(days=1),
    )
    assert list(host.clock([])) == list(host.clock([peer])) == []
    (finding,) = host.clock([replace(peer, created_at=now + timedelta(days=1))])
    assert finding.blocks
    assert "timedatectl" in finding.remedy
