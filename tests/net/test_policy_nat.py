"""With which address packets of peers go out, and where packets to forwarded ports go in."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from net.crossroads import LAN, TUNNEL, WAN1, WAN2, Arrival, Probe, own_address
from net.ends import ENDS, Guarded, pass_one, probe
from net.written import Forward, Network, Rule, Written

if TYPE_CHECKING:
    from collections.abc import Iterator

TO_ALL = (Rule.of("allow", "peers", "any"),)


@pytest.fixture(scope="module")
def crossroads() -> Iterator[Guarded]:
    with Guarded() as hosts:
        yield hosts


def named(nat: bool | None = None) -> dict[str, Network]:
    return {"lan": Network(("192.168.7.0/24", "fd07::/64"), nat=nat)}


@pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])
class TestSource:
    """What a packet's source has become of when it left the server."""

    def translated(self, crossroads: Guarded, to: str, version: int) -> bool:
        """Whether alice appears with the server's address of that link; else it is her own."""
        sent = probe("alice", to, version)
        (seen,) = crossroads.pass_through([sent])
        assert seen is not None
        own = own_address(ENDS[to][0], sent.destination)
        assert seen.packet.source in (own, sent.source)
        (answer,) = crossroads.answer([seen])
        assert answer is not None
        assert (answer.arrival.source, answer.at) == (sent.destination, TUNNEL)
        assert answer.packet.destination == sent.source
        return seen.packet.source == own

    @pytest.mark.parametrize("preset", ["gateway", "site"])
    def test_by_egress(self, crossroads: Guarded, version: int, preset: str) -> None:
        for egress in ((WAN1,), (WAN1, WAN2), None):
            crossroads.enforce(Written((preset,), TO_ALL, egress=egress))
            assert self.translated(crossroads, "internet", version)
            assert self.translated(crossroads, "elsewhere", version) is (egress != (WAN1,))
            assert self.translated(crossroads, "office", version) is (egress is None)

    def test_to_named_networks(self, crossroads: Guarded, version: int) -> None:
        for preset, nat, expected in (
            ("gateway", None, True),
            ("hub", None, True),
            ("gateway", False, False),
            ("site", None, False),
            ("site", True, True),
        ):
            # Also behind an egress a named network is what it is said to be.
            for egress in ((WAN1,), (WAN1, LAN), None):
                crossroads.enforce(Written((preset,), TO_ALL, named(nat), egress=egress))
                found = self.translated(crossroads, "lan", version)
                assert found is expected, (preset, nat, egress)

    def test_in_the_tunnel_and_to_it(self, crossroads: Guarded, version: int) -> None:
        crossroads.enforce(Written(("hub", "site"), TO_ALL, egress=None))
        for one, other in (("alice", "behind carol"), ("lan", "alice"), ("host", "dave")):
            seen = pass_one(crossroads, one, other, version)
            assert seen is not None
            assert str(seen.packet.source) == ENDS[one][1 + version]


def test_globally_routable_ipv6_is_routed(crossroads: Guarded) -> None:
    crossroads.enforce(Written(("gateway",), TO_ALL))
    for link, to in ((WAN1, "2a00:100::7"), (LAN, "fd07::9")):
        sent = Probe.of(TUNNEL, "2a00:77::2", to)
        (seen,) = crossroads.pass_through([sent])
        assert seen is not None
        assert seen.arrival == Arrival(link, sent.source, sent.destination, sent.port)


WEB = Forward("tcp", 8080, 8080, "peer:alice", 80)
GAMES = Forward("udp", 1000, 1500, "peer:bob")
CAMERA = Forward("tcp", 554, 554, "10.90.0.9", masquerade=True)
FORWARDS = Written(("gateway",), forwards=(WEB, GAMES, CAMERA))

SERVER = {
    TUNNEL: ("10.77.0.1", "fd77::1"),
    LAN: ("192.168.7.1", "fd07::1"),
    WAN1: ("203.0.113.2", "2a00:1::2"),
}


@pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])
class TestForwarding:
    def knock(
        self, crossroads: Guarded, who: str, at: str, version: int, protocol: str, port: int
    ) -> Arrival | None:
        """Call a port of the server; return who was called, once the answer has come back."""
        sent = Probe.of(ENDS[who][0], ENDS[who][1 + version], at, protocol, port)  # type: ignore[arg-type]
        (seen,) = crossroads.pass_through([sent])
        if seen is None or seen.at == "host":
            return None
        (answer,) = crossroads.answer([seen])
        assert answer is not None
        assert answer.at == sent.enters
        assert (answer.packet.source, answer.packet.destination) == (sent.destination, sent.source)
        return seen.arrival

    def test_from_outside(self, crossroads: Guarded, version: int) -> None:
        crossroads.enforce(FORWARDS)
        caller = ip_address(ENDS["internet"][1 + version])
        alice, bob = (ip_address(ENDS[name][1 + version]) for name in ("alice", "bob"))
        at = SERVER[WAN1][version]
        assert self.knock(crossroads, "internet", at, version, "tcp", 8080) == Arrival(
            TUNNEL, caller, alice, 80
        )
        for port in (1000, 1234, 1500):
            assert self.knock(crossroads, "internet", at, version, "udp", port) == Arrival(
                TUNNEL, caller, bob, port
            )
        for protocol, port in (("udp", 8080), ("tcp", 80), ("udp", 999), ("udp", 1501)):
            assert self.knock(crossroads, "internet", at, version, protocol, port) is None

    def test_from_the_tunnel(self, crossroads: Guarded, version: int) -> None:
        """Hairpin: with the server's address, or the answer would go to the caller directly."""
        crossroads.enforce(FORWARDS)
        alice = ip_address(ENDS["alice"][1 + version])
        own = ip_address(SERVER[TUNNEL][version])
        for at in SERVER.values():
            assert self.knock(crossroads, "bob", at[version], version, "tcp", 8080) == Arrival(
                TUNNEL, own, alice, 80
            )
        assert self.knock(crossroads, "alice", at[version], version, "tcp", 8080) is not None

    def test_from_elsewhere_it_is_the_hosts_port(self, crossroads: Guarded, version: int) -> None:
        crossroads.enforce(FORWARDS)
        assert self.knock(crossroads, "lan", SERVER[LAN][version], version, "tcp", 8080) is None
        seen = pass_one(crossroads, "lan", "host", version, "tcp", 8080)
        assert seen is not None
        assert seen.at == "host"

    def test_only_the_port_is_open(self, crossroads: Guarded, version: int) -> None:
        crossroads.enforce(FORWARDS)
        for port in (80, 8080):
            assert pass_one(crossroads, "internet", "alice", version, "tcp", port) is None


def test_a_forward_that_hides_the_caller(crossroads: Guarded) -> None:
    crossroads.enforce(FORWARDS)
    (seen,) = crossroads.pass_through([Probe.of(WAN1, "192.0.2.7", "203.0.113.2", "tcp", 554)])
    assert seen is not None
    own, to = ip_address("10.77.0.1"), ip_address("10.90.0.9")
    assert seen.arrival == Arrival(TUNNEL, own, to, 554)
    # To an IPv4 address no port of IPv6 leads.
    (seen,) = crossroads.pass_through([Probe.of(WAN1, "2a00:100::7", "2a00:1::2", "tcp", 554)])
    assert seen is not None
    assert seen.at == "host"


def test_forwarding_of_a_source_that_no_peer_has(crossroads: Guarded) -> None:
    crossroads.enforce(FORWARDS)
    for source in ("10.78.0.9", "192.0.2.7", "10.77.0.1"):
        (seen,) = crossroads.pass_through([Probe.of(TUNNEL, source, "203.0.113.2", "tcp", 8080)])
        assert seen is None
