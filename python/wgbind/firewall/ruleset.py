"""The nftables table of one server, built from typed values; no text is pasted into a rule.

    prerouting   what comes from the tunnel has an address that a peer can have
    input        what the tunnel may reach on this host itself
    forward      peer to peer; peers to other networks and the answers; nothing else
    postrouting  peers appear in other networks with this host's address
    output       no redirects into the tunnel

Packets that neither come from the tunnel nor go to it pass each chain untouched. An accepted
packet has still to pass the host's other tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from wgbind.settings.paths import parse_interface_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wgbind.settings.address import InterfaceAddress, Network

Json: TypeAlias = dict[str, Any]
"""What libnftables-json(5) describes: an object of a table, or a statement of a rule.

Ours have the form in which `nft -j list` prints them, so that what is can be compared with what
should be.
"""

N = TypeVar("N", IPv4Network, IPv6Network)

FAMILY = "inet"

COUNTERS = ("spoofed", "to_host", "to_networks", "to_peers")
"""Packets dropped: for a source address that no peer has, or for where they wanted to go."""

ACCEPT: Json = {"accept": None}
DROP: Json = {"drop": None}
MASQUERADE: Json = {"masquerade": None}

CLAMP_MSS: tuple[Json, Json] = (
    {
        "match": {
            "op": "in",
            "left": {"payload": {"protocol": "tcp", "field": "flags"}},
            "right": "syn",
        }
    },
    {
        "mangle": {
            "key": {"tcp option": {"name": "maxseg", "field": "size"}},
            "value": {"rt": {"key": "mtu"}},
        }
    },
)
"""Let TCP choose segments that fit the way in both directions; nft never makes them larger.

"rt mtu" is the smaller MTU of the routes to both ends, less the headers (net/netfilter/nft_rt.c).
"""

ANY: dict[int, Json] = {
    4: {"prefix": {"addr": "0.0.0.0", "len": 0}},  # noqa: S104  not a bind
    6: {"prefix": {"addr": "::", "len": 0}},
}


@dataclass(frozen=True)
class Ruleset:
    """What the peers of one server may do.

    Attributes:
        interface: The tunnel's interface.
        addresses: The server's own addresses in the tunnel. A peer has another of their networks.
        routed_networks: Networks behind peers.
        gateway: Peers reach other networks, with this host's address there (NAT).
        egress: The interfaces to those networks; None for any.
        peer_to_peer: Peers reach each other.
        host: Peers reach the services of this host; if not, only ICMP and answers pass.

    Raises `InputError` for an interface's name that nft or we would read otherwise.
    """

    interface: str
    addresses: tuple[InterfaceAddress, ...]
    routed_networks: tuple[Network, ...] = ()
    gateway: bool = True
    egress: tuple[str, ...] | None = None
    peer_to_peer: bool = True
    host: bool = True

    def __post_init__(self) -> None:
        for name in (self.interface, *(self.egress or ())):
            parse_interface_name(name)  # to nft, "@" before a name and "*" behind it say more

    def structure(self) -> list[Json]:
        """Return counters and chains: the same for all rulesets of an interface."""
        table = {"family": FAMILY, "table": table_name(self.interface)}
        return [
            *({"counter": {**table, "name": name}} for name in COUNTERS),
            {"chain": {**table, "name": "prerouting", **_hook("filter", "prerouting", -300)}},
            {"chain": {**table, "name": "input", **_hook("filter", "input", 0)}},
            {"chain": {**table, "name": "forward", **_hook("filter", "forward", 0)}},
            {"chain": {**table, "name": "from_tunnel"}},
            {"chain": {**table, "name": "to_tunnel"}},
            {"chain": {**table, "name": "postrouting", **_hook("nat", "postrouting", 100)}},
            {"chain": {**table, "name": "output", **_hook("filter", "output", 0)}},
        ]

    def rules(self) -> list[Json]:
        """Return the rules, chain by chain in the order of `structure`."""
        table = {"family": FAMILY, "table": table_name(self.interface)}
        return [
            {"rule": {**table, "chain": chain, "expr": list(statements)}}
            for chain, statements in self._rules()
        ]

    def _rules(self) -> Iterator[tuple[str, tuple[Json, ...]]]:
        from_tunnel = _match({"meta": {"key": "iifname"}}, "==", [self.interface])
        to_tunnel = _match({"meta": {"key": "oifname"}}, "==", [self.interface])
        gateway = self.gateway and self.egress != ()

        for spoofed in self._spoofed():
            yield "prerouting", (from_tunnel, spoofed, *_drop("spoofed"))

        if not self.host:
            icmp = _match({"meta": {"key": "l4proto"}}, "==", ["icmp", "ipv6-icmp"])
            yield "input", (from_tunnel, icmp, ACCEPT)
            yield "input", (from_tunnel, _ct_state("established", "related"), ACCEPT)
            yield "input", (from_tunnel, *_drop("to_host"))

        yield "forward", (from_tunnel, _jump("from_tunnel"))
        yield "forward", (to_tunnel, _jump("to_tunnel"))

        yield "from_tunnel", CLAMP_MSS
        yield "from_tunnel", (to_tunnel, *((ACCEPT,) if self.peer_to_peer else _drop("to_peers")))
        if gateway:
            # What conntrack calls invalid would leave without NAT, with the peer's own address.
            state = _ct_state("established", "related", "new")
            yield "from_tunnel", (self._egress("oifname"), state, ACCEPT)
        yield "from_tunnel", _drop("to_networks")

        yield "to_tunnel", CLAMP_MSS
        if gateway:
            answers = _ct_state("established", "related")
            yield "to_tunnel", (self._egress("iifname"), answers, ACCEPT)
        yield "to_tunnel", _drop("to_peers")

        if gateway:  # Linux knows iifname in postrouting since 5.7
            yield "postrouting", (from_tunnel, self._egress("oifname"), MASQUERADE)

        # A packet that goes back where it came from could have gone directly, thinks the kernel;
        # for its own WireGuard it was taught otherwise (drivers/net/wireguard/device.c, wg_open).
        for protocol, redirect in (("icmp", "redirect"), ("icmpv6", "nd-redirect")):
            kind = _match({"payload": {"protocol": protocol, "field": "type"}}, "==", [redirect])
            yield "output", (to_tunnel, kind, DROP)

    def _spoofed(self) -> Iterator[Json]:
        """Match the sources that no peer has: a second line behind cryptokey routing."""
        networks = [*(address.network for address in self.addresses), *self.routed_networks]
        ipv4 = _ranges(network for network in networks if isinstance(network, IPv4Network))
        ipv6 = _ranges(network for network in networks if isinstance(network, IPv6Network))
        for version, nfproto, protocol, peers in (
            (4, "ipv4", "ip", ipv4),
            (6, "ipv6", "ip6", ipv6),
        ):
            source = {"payload": {"protocol": protocol, "field": "saddr"}}
            if not peers:
                yield _match({"meta": {"key": "nfproto"}}, "==", [nfproto])
            elif peers != [ANY[version]]:
                yield _match(source, "!=", peers)
            own = sorted(address.ip for address in self.addresses if address.version == version)
            if own:
                yield _match(source, "==", [str(address) for address in own])

    def _egress(self, key: str) -> Json:
        if self.egress is None:
            return _match({"meta": {"key": key}}, "!=", [self.interface])
        return _match({"meta": {"key": key}}, "==", list(dict.fromkeys(self.egress)))


def table_name(interface: str) -> str:
    """Return the name of an interface's table, one that `nft` takes on its command line, too.

    Its names have letters, digits and "/-_." (nft's scanner, "string"); an interface's never have
    "/", which so can stand for the code of the characters that nft lacks.
    """
    mangled = "".join(f"/{ord(char):02x}" if char in "=+" else char for char in interface)
    return f"wgbind_{mangled}"


def _hook(kind: str, hook: str, priority: int) -> Json:
    """Describe a base chain; -300 is before connection tracking (nft(8), "raw")."""
    return {"type": kind, "hook": hook, "prio": priority, "policy": "accept"}


def _match(left: Json, op: str, right: list[Any]) -> Json:
    """Compare with one value or a set; a set within a rule changes together with it."""
    value = right[0] if len(right) == 1 else {"set": right}
    return {"match": {"op": op, "left": left, "right": value}}


def _ct_state(*states: str) -> Json:
    return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": list(states)}}


def _ranges(networks: Iterable[N]) -> list[Json | str]:
    """Return networks of one version as nft lists them: sorted, and joined where they touch."""
    ranges: list[list[N]] = []
    for network in collapse_addresses(networks):
        if ranges and ranges[-1][-1].broadcast_address + 1 == network.network_address:
            ranges[-1].append(network)
        else:
            ranges.append([network])
    return [_range(each[0], each[-1]) for each in ranges]


def _range(first: Network, last: Network) -> Json | str:
    if first != last:
        return {"range": [str(first.network_address), str(last.broadcast_address)]}
    if first.prefixlen == first.max_prefixlen:
        return str(first.network_address)
    return {"prefix": {"addr": str(first.network_address), "len": first.prefixlen}}


def _jump(chain: str) -> Json:
    return {"jump": {"target": chain}}


def _drop(counter: str) -> tuple[Json, Json]:
    return {"counter": counter}, DROP
