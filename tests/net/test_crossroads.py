"""Without rules everything arrives, once and unchanged, where the routes lead: checks can fail."""

from itertools import product
from typing import get_args

from net.crossroads import HOST, LAN, TUNNEL, WAN1, WAN2, Arrival, Crossroads, Probe, way
from net.probe import Protocol

ENDS = (
    (TUNNEL, "10.77.0.2", "fd77::2"),
    (TUNNEL, "10.90.0.9", "2a00:77::3"),
    (LAN, "192.168.7.9", "fd07::9"),
    (LAN, "192.168.8.9", "fd08::9"),
    (WAN1, "192.0.2.7", "2a00:100::7"),
    (WAN2, "198.51.100.7", "2a00:2::7"),
)
HOSTS_OWN = {
    TUNNEL: ("10.77.0.1", "fd77::1"),
    LAN: ("192.168.7.1", "fd07::1"),
    WAN1: ("203.0.113.2", "2a00:1::2"),
    WAN2: ("198.51.100.2", "2a00:2::2"),
}


def test_all_ways_without_rules() -> None:
    probes = []
    for (enters, *sources), (leaves, *destinations), protocol in product(
        ENDS, ENDS, get_args(Protocol)
    ):
        for version in (0, 1):
            if sources != destinations:
                probes.append(Probe.of(enters, sources[version], destinations[version], protocol))
            own = HOSTS_OWN[enters][version]
            probes.append(Probe.of(enters, sources[version], own, protocol))
            own = HOSTS_OWN[leaves][version]
            probes.append(Probe.of(HOST, own, destinations[version], protocol))
    with Crossroads() as crossroads:
        found = crossroads.pass_through(probes)
    for probe, seen in zip(probes, found, strict=True):
        expected = Arrival(way(probe.destination), probe.source, probe.destination, probe.port)
        assert seen is not None, probe
        assert seen.arrival == expected, probe
