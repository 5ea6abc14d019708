"""A port of this host that leads to a peer: read from text or a table, written as text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wgbind.errors import InputError
from wgbind.settings.reference import Reference
from wgbind.settings.rule import ARROW, COLON, cut_word
from wgbind.settings.service import PORT_MAX, Service, parse_services

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wgbind.settings.reference import Vocabulary


@dataclass(frozen=True)
class Forward:
    """Ports of this host that lead to a peer: DNAT.

    Attributes:
        service: tcp or udp, and a port or a range.
        to: A peer or one address.
        port: Where it leads there; None for the same port.
        masquerade: The peer sees this host's address in place of the caller's, so that its answer
            comes back here whatever its routes are.
    """

    service: Service
    to: Reference
    port: int | None = None
    masquerade: bool = False

    @classmethod
    def parse(cls, text: str, vocabulary: Vocabulary) -> Forward:
        """Parse `PROTOCOL/PORT[-PORT] -> peer:NAME|ADDRESS [: PORT] [masquerade]`.

        Raises `InputError`.
        """
        ends = ARROW.split(text)
        if len(ends) != 2:
            raise InputError(f"{text!r} is not a forward, such as 'tcp/8080 -> peer:web : 80'")
        body, masquerade = cut_word(ends[1], "masquerade")
        target, *ports = COLON.split(body)
        if len(ports) > 1:
            raise InputError(f"{text!r} has two colons; give one port")
        return cls(
            _forwarded(ends[0].strip(), vocabulary),
            _target(target.strip(), vocabulary),
            _port(ports[0].strip()) if ports else None,
            masquerade,
        )._consistent()

    @classmethod
    def of_table(cls, table: Mapping[str, object], vocabulary: Vocabulary) -> Forward:
        """Read a forward that is a table: service, to, and port and masquerade if it has them.

        Raises `InputError`.
        """
        keys = ("service", "to", "port", "masquerade")
        for key in table:
            if key not in keys:
                raise InputError(f"a forward has no key {key!r}; there are {', '.join(keys)}")
        service, to, port = table.get("service"), table.get("to"), table.get("port")
        masquerade = table.get("masquerade", False)
        if not isinstance(service, str) or not isinstance(to, str):
            raise InputError("a forward needs service and to, texts in quotes")
        if not isinstance(masquerade, bool):
            raise InputError(f"masquerade: {masquerade!r} is not true or false")
        return cls(
            _forwarded(service, vocabulary),
            _target(to, vocabulary),
            None if port is None else _port(str(port)),
            masquerade,
        )._consistent()

    def clashes(self, other: Forward) -> bool:
        """Whether both want the same port."""
        one, two = self.service, other.service
        return one.protocol == two.protocol and one.first <= two.last and two.first <= one.last

    def checked(self, vocabulary: Vocabulary) -> Forward:
        """Return it if it is one that the settings could say; raise `InputError`."""
        return Forward.parse(str(self), vocabulary)

    def as_setting(self) -> str:
        """Return the form for the settings file."""
        return str(self)

    def __str__(self) -> str:
        port = "" if self.port is None else f" : {self.port}"
        return f"{self.service} -> {self.to}{port}{' masquerade' if self.masquerade else ''}"

    def _consistent(self) -> Forward:
        if self.port is not None and self.service.first != self.service.last:
            raise InputError(
                f"{str(self)!r}: a range keeps its ports; leave out the port {self.port}"
            )
        return self


def _forwarded(text: str, vocabulary: Vocabulary) -> Service:
    services = parse_services(text, vocabulary.services)
    if len(services) != 1 or services[0].has_all_ports:
        raise InputError(f"{text!r}: forward one port or range of tcp or udp, as in tcp/8080")
    return services[0]


def _target(text: str, vocabulary: Vocabulary) -> Reference:
    to = Reference.parse(text, vocabulary)
    single = to.prefix is not None and to.prefix.prefixlen == to.prefix.max_prefixlen
    if to.kind != "peer" and not single:
        raise InputError(f"{text!r}: a forward leads to one peer:NAME or one address")
    return to


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= PORT_MAX:
        raise InputError(f"{text!r} is not a port; use 1 to {PORT_MAX}")
    return int(text)
