"""What a host's nftables rules do with a packet of which not everything is known; pure.

It reads what `nft -j list ruleset` prints (libnftables-json(5)), rules of iptables-nft included.
Each match is true, false or unknown, such as of the address of a client that has not called yet.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wgbind.settings.address import Address

Json: TypeAlias = Any

Outcome: TypeAlias = Literal["accept", "drop", "return", "continue"]

FAMILIES = {4: ("inet", "ip"), 6: ("inet", "ip6")}
NFPROTO = {4: "ipv4", 6: "ipv6"}

# nft's names of what is drawn from a packet; a mask, a hash or a lookup is unknown.
_PORTS = {"dport", "sport"}
_ADDRESSES = {"saddr", "daddr"}

MAX_DEPTH = 16  # the kernel's own limit of jumps (NFT_JUMP_STACK_SIZE)


@dataclass(frozen=True)
class Packet:
    """A packet as far as it is known; None is unknown.

    Attributes:
        version: Of IP.
        hooks: Those of netfilter that it passes.
        protocol: "udp", "tcp" or "icmp", which stands for ICMPv6 too.
        state: Of its connection: "new" or "established".
        iif: The interface where it came in; "" for none.
        oif: The one where it leaves; "" for none.
        source: Its source address.
        destination: Its destination.
        ports: "sport" and "dport".
    """

    version: int
    hooks: tuple[str, ...]
    protocol: str | None = None
    state: str = "new"
    iif: str | None = None
    oif: str | None = None
    source: Address | None = None
    destination: Address | None = None
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Culprit:
    """What drops a packet.

    Attributes:
        family: The table's family.
        table: Its name.
        base: The chain in the hook.
        chain: The chain of the rule, which the base chain may have jumped to.
        handle: The rule's handle; None if it is the base chain's policy.
        certain: No rule before it might let the packet pass.
    """

    family: str
    table: str
    base: str
    chain: str
    handle: int | None
    certain: bool


class Ruleset:
    """The tables of a host, but those in `without`.

    Args:
        objects: What stands under "nftables" in nft's JSON.
        without: Names of tables to leave out.
    """

    def __init__(self, objects: Iterable[Json], without: Iterable[str] = ()) -> None:
        without = set(without)
        self.base: list[Json] = []
        self.rules: defaultdict[tuple[str, str, str], list[Json]] = defaultdict(list)
        self.elements: dict[tuple[str, str, str], list[Json]] = {}
        self.chains: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for each in objects:
            ((kind, value),) = each.items()
            if value.get("table") in without:
                continue
            if kind == "chain":
                self.chains[value["family"], value["table"]].add(value["name"])
                if value.get("type") == "filter":
                    self.base.append(value)
            elif kind == "rule":
                self.rules[value["family"], value["table"], value["chain"]].append(value)
            elif kind in {"set", "map"}:
                key = (value["family"], value["table"], value["name"])
                self.elements[key] = value.get("elem", [])

    def culprits(self, packet: Packet) -> Iterator[Culprit]:
        """Return what drops a packet, at most one for each base chain."""
        for chain in self.base:
            if chain["hook"] not in packet.hooks or chain["family"] not in FAMILIES[packet.version]:
                continue
            walk = _Walk(self, packet, chain)
            if walk.result is not None:
                yield walk.result


class _Walk:
    """The way of a packet through one base chain."""

    def __init__(self, ruleset: Ruleset, packet: Packet, base: Json) -> None:
        self._ruleset, self._packet, self._base = ruleset, packet, base
        self._key = (base["family"], base["table"])
        self._certain = True
        self.result: Culprit | None = None
        if self._chain(base["name"], 0) in {"continue", "return"} and base.get("policy") == "drop":
            self._blame(base["name"], None)

    def _blame(self, chain: str, handle: int | None) -> None:
        self.result = Culprit(*self._key, self._base["name"], chain, handle, self._certain)

    def _chain(self, name: str, depth: int) -> Outcome:
        if depth > MAX_DEPTH:
            return "continue"
        family, table = self._key
        left_before = False
        for rule in self._ruleset.rules[family, table, name]:
            matched: bool | None = True
            for statement in rule["expr"]:
                ((kind, value),) = statement.items()
                truth = self._match(kind, value, rule["expr"])
                if truth is False:
                    break
                if truth is None:
                    matched = None
                outcome = self._verdict(kind, value, matched, rule, depth)
                left_before |= kind == "return" and matched is None
                if self.result is not None and left_before:
                    self.result = replace(self.result, certain=False)
                if outcome != "continue":
                    return outcome
        return "continue"

    def _verdict(
        self, kind: str, value: Json, matched: bool | None, rule: Json, depth: int
    ) -> Outcome:
        if kind == "vmap":
            for key, verdict in self._pairs(value["data"]):
                truth = _equal(self._left(value["key"]), key)
                if truth is not False:
                    ((inner, target),) = verdict.items()
                    both = None if None in {matched, truth} else True
                    return self._verdict(inner, target, both, rule, depth)
            return "continue"
        if kind in {"drop", "reject"} or (kind == "xt" and value.get("name") == "REJECT"):
            if matched is None:
                return "continue"  # not of a packet as ours are, most likely
            self._blame(rule["chain"], rule["handle"])
            return "drop"
        if kind in {"accept", "queue"}:
            if matched is None:
                self._certain = False
                return "continue"
            return "accept"
        if kind in {"jump", "goto"}:
            outcome = self._chain(value["target"], depth + 1)
            if matched is None and outcome in {"accept", "drop"}:
                self._certain = self._certain and outcome == "drop"
                self.result = None
                return "continue"
            if kind == "goto" and outcome == "continue":
                return "return"
            return "continue" if outcome == "return" else outcome
        return "return" if kind == "return" and matched else "continue"

    def _match(self, kind: str, value: Json, expression: Json) -> bool | None:
        """Whether a statement lets the rule go on; what matches nothing always does."""
        if kind == "limit":
            return None
        if kind == "xt" and value.get("type") == "match":
            # iptables keeps these for itself. Of the state of a connection the rules say, almost
            # always, that what is established passes, and that what is invalid does not.
            if value.get("name") in {"conntrack", "state"}:
                accepts = any("accept" in each for each in expression)
                return accepts and self._packet.state == "established"
            # Of the type of an address, that what is for this host returns, before a rule that
            # drops the rest (ufw-not-local).
            if value.get("name") == "addrtype" and any("return" in each for each in expression):
                return self._packet.oif == "" or None
            return None
        if kind != "match":
            return True
        left = self._left(value["left"])
        truth = self._in(left, value["right"])
        return truth if value["op"] in {"==", "in"} or truth is None else not truth

    def _left(self, expression: Json) -> Json:
        """Return what an expression draws from the packet, None for unknown."""
        packet = self._packet
        if not isinstance(expression, dict):
            return None
        ((kind, value),) = expression.items()
        if kind == "concat":
            return [self._left(each) for each in value]
        if kind == "meta":
            return {
                "iifname": packet.iif,
                "iif": packet.iif,
                "oifname": packet.oif,
                "oif": packet.oif,
                "nfproto": NFPROTO[packet.version],
                "protocol": "ip" if packet.version == 4 else "ip6",
                "l4proto": self._protocol(),
            }.get(value["key"])
        if kind == "ct":
            # No packet of ours was redirected: its status is none that rules ask for.
            known = {"state": packet.state, "direction": self._direction(), "status": ""}
            return known.get(value["key"])
        if kind == "fib" and value == {"result": "type", "flags": ["daddr"]}:
            return "local" if packet.oif == "" else "unicast"
        if kind == "payload" and "field" in value:
            return self._payload(value["protocol"], value["field"])
        return None

    def _protocol(self) -> str | None:
        if self._packet.protocol == "icmp" and self._packet.version == 6:
            return "ipv6-icmp"
        return self._packet.protocol

    def _direction(self) -> str:
        return "original" if self._packet.state == "new" else "reply"

    def _payload(self, protocol: str, name: str) -> Json:
        packet = self._packet
        if protocol in {"ip", "ip6"}:
            if (protocol == "ip") != (packet.version == 4):
                return ""  # the rule first asks for the family
            if name in _ADDRESSES:
                return packet.source if name == "saddr" else packet.destination
            return self._protocol() if name in {"protocol", "nexthdr"} else None
        if protocol in {"tcp", "udp", "icmp", "icmpv6", "th"}:
            wanted = {"icmpv6": "icmp"}.get(protocol, protocol)
            if packet.protocol is not None and wanted not in {"th", packet.protocol}:
                return ""
            if name == "type" and packet.protocol == "icmp":
                return "echo-request"
            return packet.ports.get(name) if name in _PORTS else None
        return None

    def _in(self, left: Json, right: Json) -> bool | None:
        truths = [_equal(left, each) for each in self._values(right)]
        if True in truths:
            return True
        return None if None in truths else False

    def _values(self, right: Json) -> list[Json]:
        if isinstance(right, str) and right.startswith("@"):
            right = {"set": self._ruleset.elements.get((*self._key, right[1:]), [])}
        if isinstance(right, dict) and "set" in right:
            found = right["set"] if isinstance(right["set"], list) else [right["set"]]
            return [_element(each) for each in found]
        return right if isinstance(right, list) else [right]

    def _pairs(self, data: Json) -> list[tuple[Json, Json]]:
        if isinstance(data, str):
            elements = self._ruleset.elements.get((*self._key, data.removeprefix("@")), [])
        else:
            elements = data["set"]
        return [(_element(key), verdict) for key, verdict in elements]


def _element(element: Json) -> Json:
    """Return an element of a set without its comment, timeout or counter."""
    return element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element


def _equal(left: Json, right: Json) -> bool | None:
    """Whether what was drawn from the packet is, or lies in, a constant; None if unknown."""
    if isinstance(left, list):
        parts = right.get("concat") if isinstance(right, dict) else None
        truths = [_equal(*pair) for pair in zip(left, parts or (), strict=False)]
        return False if False in truths else None if None in truths or not parts else True
    if left is None:
        return None
    if isinstance(right, dict):
        if "range" in right:
            first, last = right["range"]
            return _ordered(left, first, last)
        if "prefix" in right:
            network = ip_network((right["prefix"]["addr"], right["prefix"]["len"]), strict=False)
            return None if isinstance(left, (int, str)) else left in network
        return None
    if isinstance(right, str) and right.endswith("*"):
        return str(left).startswith(right[:-1])
    return str(left) == str(right)


def _ordered(left: Json, first: Json, last: Json) -> bool | None:
    if isinstance(left, (int, str)):  # a port, or a word, which is in no range
        return isinstance(left, int) and isinstance(first, int) and first <= left <= last
    try:
        return int(ip_address(first)) <= int(left) <= int(ip_address(last))
    except ValueError:
        return None
