"""All scenarios; one file for each kind of traffic."""

from scenarios import gateway, handshakes, hub, latency, many, talk, tcp, udp

ALL = [
    *tcp.SCENARIOS,
    *udp.SCENARIOS,
    *latency.SCENARIOS,
    *hub.SCENARIOS,
    *gateway.SCENARIOS,
    *talk.SCENARIOS,
    *handshakes.SCENARIOS,
    *many.SCENARIOS,
]
