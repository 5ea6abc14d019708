"""What has to become of a packet under a policy: slow, obvious, and from the words alone.

Nothing of wgbind is used here. It reads what the operator wrote as docs/firewall.md says it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from ipaddress import IPv6Network, ip_address, ip_interface, ip_network
from itertools import product
from typing import TYPE_CHECKING

from net.crossroads import (
    ADDRESSES,
    HOST,
    LAN,
    TUNNEL,
    WAN1,
    WAN2,
    Arrival,
    Probe,
    own_address,
    way,
)
from net.written import Rule

if TYPE_CHECKING:
    from net.probe import Address
    from net.written import Forward, Network, Peer, Written

NAMED_SERVICES = {
    "ssh": ("tcp/22",),
    "dns": ("tcp/53", "udp/53"),
    "http": ("tcp/80",),
    "https": ("tcp/443", "udp/443"),
}

_prefix = cache(ip_network)

OWN = tuple(map(ip_interface, ADDRESSES[TUNNEL]))
GLOBAL_UNICAST = IPv6Network("2000::/3")  # IANA IPv6 global unicast address assignments


@dataclass(frozen=True)
class Fate:
    """What becomes of a packet, and why.

    Attributes:
        arrival: Where it comes out; None if it does not.
        reason: "untouched" (neither from the tunnel nor to it), "spoofed", "forward", "rule" or
            "default".
        rule: The operator's rule that decided, or the text of the preset's.
    """

    arrival: Arrival | None
    reason: str
    rule: int | str | None = None


def fate(written: Written, probe: Probe) -> Fate:
    """Tell what becomes of a packet that begins a connection."""
    if probe.enters == TUNNEL and _spoofed(written, probe.source):
        return Fate(None, "spoofed")
    forward = _forward(written, probe)
    if forward is not None:
        return Fate(_forwarded(written, forward, probe), "forward")
    leaves = way(probe.destination)
    unchanged = Arrival(leaves, probe.source, probe.destination, probe.port)
    if TUNNEL not in (probe.enters, leaves):
        return Fate(unchanged, "untouched")
    name, allowed = _decide(written, probe, leaves)
    reason = "default" if name is None else "rule"
    if not allowed:
        return Fate(None, reason, name)
    if _translated(written, probe, leaves):
        source = own_address(leaves, probe.destination)
        return Fate(Arrival(leaves, source, probe.destination, probe.port), reason, name)
    return Fate(unchanged, reason, name)


def _decide(written: Written, probe: Probe, leaves: str) -> tuple[int | str | None, bool]:
    """Return which rule decides, and whether it allows."""
    rules: list[tuple[int | str, Rule]] = [*enumerate(written.rules)]
    for name, rule in [*rules, *preset_rules(written)]:
        if _matches(written, rule, probe, leaves):
            return name, rule.action == "allow"
    return None, False


def comes_back(written: Written, probe: Probe, arrival: Arrival) -> bool:
    """Whether an answer to a packet that arrived gets to who sent it.

    It does not to who used another's address, nor from where no peer has the address called.
    """
    if way(probe.source) != probe.enters:
        return False
    return arrival.at != TUNNEL or not _spoofed(written, arrival.destination)


def goes_on(written: Written, probe: Probe, arrival: Arrival, port: int) -> bool | None:
    """Whether a connection that arrived earlier is still one under another policy.

    None where that cannot be said: if it would now arrive otherwise, if it came by a forward that
    is gone, if its answers to `port` might begin one, or if by other interfaces than its own it
    would be allowed or not be for wgbind to decide: the kernel does not tell by which it goes.
    """
    now = fate(written, probe)
    if now.arrival is not None:
        return True if now.arrival == arrival and comes_back(written, probe, arrival) else None
    if now.reason == "spoofed" or arrival.destination != probe.destination:
        return None
    protocol = "icmp" if probe.protocol == "ping" else probe.protocol  # no answer is a request
    answers = Probe(arrival.at, arrival.destination, arrival.source, protocol, port)
    if fate(written, answers).arrival is not None:
        return None
    for enters, leaves in product(_doubtful(probe.enters), _doubtful(arrival.at)):
        if _decide(written, replace(probe, enters=enters), leaves)[1]:
            return None
    everywhere = any(not each.prefixlen for peer in written.peers for each in peer.routed_networks)
    return None if everywhere else False


def _doubtful(link: str) -> tuple[str, ...]:
    return (link,) if link in (HOST, TUNNEL) else (LAN, WAN1, WAN2)


def preset_rules(written: Written) -> list[tuple[str, Rule]]:
    """Return the rules that the presets stand for, by their texts."""
    from_host = Rule.of("allow", "host", "peers")
    ping = Rule.of("allow", "peers", "host", "ping")
    rules: list[Rule] = []
    for preset in written.preset:
        if preset == "gateway":
            rules += [Rule.of("allow", "peers", "internet"), ping, from_host]
        elif preset == "hub":
            rules += [Rule.of("allow", "peers", "peers"), ping, from_host]
        elif preset == "isolated":
            rules += [from_host]
        elif preset == "site":
            rules += [Rule.of("allow", "peers", "peers"), ping, from_host]
            for network in written.networks:
                rules += [Rule.of("allow", "peers", network), Rule.of("allow", network, "peers")]
    return [(str(rule), rule) for rule in rules]


def owner(peers: tuple[Peer, ...], address: Address) -> Peer | None:
    """Return the peer that has an address: the one with the longest prefix around it."""
    own = [own.network.prefixlen for own in OWN if address in own.network]
    best, longest = None, -1
    for peer in peers:
        for prefix in (*map(_prefix, peer.addresses), *peer.routed_networks):
            if own and prefix.prefixlen < own[0]:
                continue  # who has what is around the server's own networks has not these
            if address in prefix and prefix.prefixlen > longest:
                best, longest = peer, prefix.prefixlen
    return best


def _spoofed(written: Written, source: Address) -> bool:
    if source in [own.ip for own in OWN]:
        return True
    networks = [own.network for own in OWN]
    for peer in written.peers:
        networks += peer.routed_networks
    return not any(source in network for network in networks)


def _matches(written: Written, rule: Rule, probe: Probe, leaves: str) -> bool:
    return (
        any(_is(written, word, probe.enters, probe.source) for word in rule.sources)
        and any(_is(written, word, leaves, probe.destination) for word in rule.destinations)
        and (not rule.services or any(_serves(written, word, probe) for word in rule.services))
    )


def _is(written: Written, word: str, link: str, address: Address) -> bool:
    """Whether a reference means an end: the link, or host, and the address there."""
    kind, _, name = word.partition(":")
    if word == "any":
        return True
    if word == "host":
        return link == HOST
    if word == "peers":
        return link == TUNNEL
    if word == "internet":
        if link in (HOST, TUNNEL) or (written.egress is not None and link not in written.egress):
            return False
        return not any(_within(address, named) for named in written.networks.values())
    if kind == "peer":
        peer = owner(written.peers, address)
        return link == TUNNEL and peer is not None and peer.name == name
    if word in ("staff", "guests") or kind == "group":
        peer = owner(written.peers, address)
        return link == TUNNEL and peer is not None and (name or word) in peer.groups
    if word in written.networks or kind == "net":
        named = written.networks[name or word]
        if link in (HOST, TUNNEL) or named.interface not in (None, link):
            return False
        return _within(address, named)
    return address in _prefix(word)


def _within(address: Address, named: Network) -> bool:
    return any(address in _prefix(prefix) for prefix in named.prefixes)


def _serves(written: Written, word: str, probe: Probe) -> bool:
    """Whether a service means a packet."""
    meant = written.services.get(word) or NAMED_SERVICES.get(word)
    if meant is not None:
        return any(_serves(written, each, probe) for each in meant)
    protocol, _, ports = word.partition("/")
    if word == "any":
        return True
    if protocol == "icmp":
        return probe.protocol in ("icmp", "ping")
    if protocol != probe.protocol:
        return False
    first, _, last = ports.partition("-")
    return not ports or int(first) <= probe.port <= int(last or first)


def _translated(written: Written, probe: Probe, leaves: str) -> bool:
    """Whether a packet gets the server's address on the way out of the tunnel."""
    if probe.enters != TUNNEL or leaves in (HOST, TUNNEL) or probe.source in GLOBAL_UNICAST:
        return False
    for named in written.networks.values():
        if _within(probe.destination, named) and named.interface in (None, leaves):
            return "site" not in written.preset if named.nat is None else named.nat
    return written.egress is None or leaves in written.egress


def _forward(written: Written, probe: Probe) -> Forward | None:
    """Return the forwarding that takes a packet, if one does."""
    if way(probe.destination) != HOST or probe.enters == HOST:
        return None
    outside = probe.enters != TUNNEL
    if outside and written.egress is not None and probe.enters not in written.egress:
        return None
    for forward in written.forwards:
        if (
            forward.takes(probe.protocol, probe.port)
            and _forwards_to(written, forward, probe.destination.version) is not None
        ):
            return forward
    return None


def _forwards_to(written: Written, forward: Forward, version: int) -> Address | None:
    kind, _, name = forward.to.partition(":")
    if kind == "peer":
        for peer in written.peers:
            if peer.name == name:
                return next(each for each in peer.addresses if each.version == version)
        return None
    address = ip_address(forward.to)
    return address if address.version == version else None


def _forwarded(written: Written, forward: Forward, probe: Probe) -> Arrival:
    to = _forwards_to(written, forward, probe.destination.version)
    assert to is not None
    leaves = way(to)
    hidden = forward.masquerade or probe.enters == leaves
    source = own_address(leaves, to) if hidden else probe.source
    return Arrival(leaves, source, to, forward.port or probe.port)
