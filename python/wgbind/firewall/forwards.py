"""Ports of this host that lead elsewhere (DNAT), and with which address peers appear elsewhere."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_network
from typing import TYPE_CHECKING

from wgbind.firewall import expression
from wgbind.firewall.expression import ACCEPT, MASQUERADE, TCP, UDP, version_of
from wgbind.firewall.frame import counter_name
from wgbind.firewall.table import Rule
from wgbind.firewall.way import by_egress, by_interface, network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wgbind.firewall.expression import Expression
    from wgbind.firewall.frame import Builder, Frame
    from wgbind.settings.address import Address
    from wgbind.settings.forward import Forward

_PROTOCOL = {"tcp": TCP, "udp": UDP}

_GLOBAL = IPv6Network("2000::/3")
"""IPv6 addresses that are routed in the internet (IANA's registry of the address space)."""


def translations(frame: Frame, builder: Builder) -> Iterator[Rule]:
    """Send what calls a forwarded port of this host, from the internet or a peer, elsewhere."""
    egress = frame.egress
    arrives = b"" if egress is None else by_interface((*egress, frame.interface), builder, "source")
    for forward, target in _targets(frame):
        service = forward.service
        yield Rule(
            arrives
            + expression.family(version_of(target))
            + expression.TO_LOCAL_ADDRESS
            + expression.protocol(_PROTOCOL[service.protocol])
            + expression.destination_port(service.first, service.last)
            + expression.translate_destination(target, forward.port),
            str(forward),
        )


def admissions(frame: Frame, builder: Builder) -> Iterator[Rule]:
    """Let pass what was so translated."""
    for forward, target in _targets(frame):
        count = builder.counter(counter_name(forward))
        yield Rule(_translated(forward, target) + count + ACCEPT, str(forward))


def masquerades(frame: Frame, builder: Builder) -> Iterator[Rule]:
    """Give what leaves the tunnel, and some of what is forwarded, this host's address."""
    from_tunnel = expression.interface("source", frame.interface)
    to_tunnel = expression.interface("destination", frame.interface)
    for forward, target in _targets(frame):
        # The answer to a peer, too, has to come back here to get the address that was called.
        hairpin = b"" if forward.masquerade else from_tunnel + to_tunnel
        yield Rule(hairpin + _translated(forward, target) + MASQUERADE, str(forward))
    # Linux knows the interface that a packet came from in postrouting since 5.7.
    yield Rule(expression.interface("source", frame.interface, equal=False) + ACCEPT)
    yield Rule(to_tunnel + ACCEPT)
    yield Rule(expression.family(6) + expression.address("source", _GLOBAL) + ACCEPT)
    for name in frame.settings.networks:
        verdict = MASQUERADE if frame.nat[name] else ACCEPT
        for match in network(frame, builder, name, "destination"):
            yield Rule(match.whole + verdict)
    egress = by_egress(frame, builder, "destination")
    if egress is not None:
        yield Rule(egress + MASQUERADE)


def _targets(frame: Frame) -> Iterator[tuple[Forward, Address]]:
    for forward, targets in frame.targets:
        for target in targets:
            yield forward, target


def _translated(forward: Forward, target: Address) -> Expression:
    """Match the connections of a forward, and not what other programs translated."""
    service = forward.service
    ports = (service.first, service.last) if forward.port is None else (forward.port, forward.port)
    return (
        expression.family(version_of(target))
        + expression.DNATED
        + expression.address("destination", ip_network(target))
        + expression.protocol(_PROTOCOL[service.protocol])
        + expression.destination_port(*ports)
        + expression.original_port(service.first, service.last)
    )
