"""What a rule lets pass: a protocol and its ports, or the name of a well-known service."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from wgbind.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

Protocol: TypeAlias = Literal["any", "tcp", "udp", "icmp", "ping"]

PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

PORT_MAX = 65535

_PORTS = re.compile(r"(?P<protocol>[a-z]+)/(?P<first>[0-9]{1,9})(-(?P<last>[0-9]{1,9}))?")


@dataclass(frozen=True)
class Service:
    """A protocol and a range of destination ports; ports mean something for tcp and udp only.

    `icmp` is ICMP and ICMPv6, `ping` the echo requests of both. Ports 0 to 65535 are all of them.
    """

    protocol: Protocol
    first: int = 0
    last: int = PORT_MAX

    @classmethod
    def parse(cls, text: str) -> Service:
        """Parse "any", "icmp", "ping", "tcp", "tcp/22" or "udp/1000-2000"; raise `InputError`."""
        for protocol in PROTOCOLS:
            if text == protocol:
                return cls(protocol)
        match = _PORTS.fullmatch(text)
        if match is None:
            raise InputError(f"{text!r} is not a service, such as ssh, tcp/22, udp/1000-2000, ping")
        for protocol in PROTOCOLS:
            if match["protocol"] == protocol and protocol in {"tcp", "udp"}:
                break
        else:
            raise InputError(f"{text!r}: only tcp and udp have ports, as in tcp/22")
        first = int(match["first"])
        last = first if match["last"] is None else int(match["last"])
        for port in (first, last):
            if not 1 <= port <= PORT_MAX:
                raise InputError(f"{text!r}: there is no port {port}; use 1 to {PORT_MAX}")
        if first > last:
            raise InputError(
                f"{text!r}: the range is the wrong way round; write {protocol}/{last}-{first}"
            )
        return cls(protocol, first, last)

    @property
    def has_all_ports(self) -> bool:
        """Whether it leaves out no port."""
        return (self.first, self.last) == (0, PORT_MAX)

    def covers(self, other: Service) -> bool:
        """Whether all that is of the other service is of this one, too."""
        if self.protocol == "any" or (self.protocol, other.protocol) == ("icmp", "ping"):
            return True
        return self.protocol == other.protocol and self.first <= other.first <= other.last <= (
            self.last
        )

    def __str__(self) -> str:
        if self.has_all_ports:
            return self.protocol
        ports = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.protocol}/{ports}"


ANY_SERVICE = Service("any")


def _services(text: str) -> tuple[Service, ...]:
    return tuple(map(Service.parse, text.split()))


# The ports that people mean by these names (IANA's registry; SMB and NFS without their portmappers,
# which are of no use through a packet filter).
WELL_KNOWN: dict[str, tuple[Service, ...]] = {
    "dhcp": _services("udp/67-68"),
    "dns": _services("udp/53 tcp/53"),
    "dot": _services("tcp/853"),
    "ftp": _services("tcp/21"),
    "git": _services("tcp/9418"),
    "http": _services("tcp/80"),
    "https": _services("tcp/443 udp/443"),
    "imap": _services("tcp/143"),
    "imaps": _services("tcp/993"),
    "ipp": _services("tcp/631"),
    "iperf3": _services("tcp/5201 udp/5201"),
    "ldap": _services("tcp/389 udp/389"),
    "ldaps": _services("tcp/636"),
    "mdns": _services("udp/5353"),
    "mongodb": _services("tcp/27017"),
    "mqtt": _services("tcp/1883"),
    "mqtts": _services("tcp/8883"),
    "mysql": _services("tcp/3306"),
    "nfs": _services("tcp/2049"),
    "ntp": _services("udp/123"),
    "pop3s": _services("tcp/995"),
    "postgresql": _services("tcp/5432"),
    "rdp": _services("tcp/3389 udp/3389"),
    "redis": _services("tcp/6379"),
    "rsync": _services("tcp/873"),
    "sip": _services("udp/5060 tcp/5060"),
    "smb": _services("tcp/445"),
    "smtp": _services("tcp/25"),
    "snmp": _services("udp/161"),
    "ssh": _services("tcp/22"),
    "submission": _services("tcp/587"),
    "submissions": _services("tcp/465"),
    "syslog": _services("udp/514"),
    "vnc": _services("tcp/5900"),
    "wireguard": _services("udp/51820"),
}


def parse_services(text: str, own: Mapping[str, tuple[Service, ...]]) -> tuple[Service, ...]:
    """Parse one service or the name of one or several; names of one's own go first.

    Raises `InputError`.
    """
    if text in own:
        return own[text]
    if text in WELL_KNOWN:
        return WELL_KNOWN[text]
    if re.fullmatch(r"[a-z][a-z0-9_-]*", text) and text not in PROTOCOLS:
        near = get_close_matches(text, [*own, *WELL_KNOWN, *PROTOCOLS], n=1)
        hint = f"did you mean {near[0]}?" if near else "write its ports, as in tcp/22"
        raise InputError(f"there is no service {text!r}; {hint}")
    return (Service.parse(text),)
