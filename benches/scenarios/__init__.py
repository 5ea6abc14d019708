"""All scenarios; one file for each kind of traffic."""

from scenarios import (
    flood,
    gateway,
    handshakes,
    hub,
    latency,
    many,
    provisioning,
    talk,
    tcp,
    times,
    udp,
)

ALL = [
    *tcp.SCENARIOS,
    *udp.SCENARIOS,
    *latency.SCENARIOS,
    *hub.SCENARIOS,
    *gateway.SCENARIOS,
    *talk.SCENARIOS,
    *handshakes.SCENARIOS,
    *flood.SCENARIOS,
    *many.SCENARIOS,
    *provisioning.SCENARIOS,
    *times.SCENARIOS,
]
