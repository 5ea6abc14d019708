"""What one end can begin with another by a policy: exactly, by protocols and ranges of ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wgbind.settings.prefixes import without
from wgbind.settings.service import ANY_SERVICE, PORT_MAX, Service

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wgbind.settings.prefixes import Ranges
    from wgbind.settings.rule import Rule

_ALL: Ranges = ((0, PORT_MAX),)

# "other" are the protocols that rules have no word for: only `any` has them.
_KINDS = ("tcp", "udp", "ping", "icmp", "other")
_MEANT: dict[str, tuple[str, ...]] = {"any": _KINDS, "icmp": ("ping", "icmp")}


@dataclass(frozen=True)
class Traffic:
    """A set of protocols and ports: `ranges` are those of tcp, udp, ping, other icmp, the rest.

    What has no ports is all there or not at all.
    """

    ranges: tuple[Ranges, ...] = ((),) * len(_KINDS)

    @classmethod
    def of(cls, services: Iterable[Service]) -> Traffic:
        """Return what is of any of these services."""
        found = NOTHING
        for service in services:
            kinds = _MEANT.get(service.protocol, (service.protocol,))
            ports = ((service.first, service.last),)
            found |= cls(tuple(ports if kind in kinds else () for kind in _KINDS))
        return found

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(
            tuple(tuple(without(*each)) for each in zip(self.ranges, other.ranges, strict=True))
        )

    def __and__(self, other: Traffic) -> Traffic:
        return self - (self - other)

    def __or__(self, other: Traffic) -> Traffic:
        return EVERYTHING - ((EVERYTHING - self) - other)

    def __bool__(self) -> bool:
        return any(self.ranges)

    def __str__(self) -> str:
        """Say it in the shorter way: what is there, or what is not."""
        if not self:
            return "nothing"
        rest = EVERYTHING - self
        if not rest:
            return "everything"
        there, missing = self._words(), rest._words()
        if self.ranges[-1] and len(missing) <= len(there):
            return f"everything but {', '.join(missing)}"
        return ", ".join(there)

    def _words(self) -> list[str]:
        tcp, udp, ping, icmp, other = self.ranges
        words = [str(Service("tcp", *ports)) for ports in tcp]
        words += [str(Service("udp", *ports)) for ports in udp]
        if icmp:
            words.append("icmp" if ping else "icmp but ping")
        elif ping:
            words.append("ping")
        return [*words, "other protocols"] if other else words


NOTHING = Traffic()
EVERYTHING = Traffic((_ALL,) * len(_KINDS))


def allowed_by(rules: Iterable[Rule]) -> Traffic:
    """Return what passes by rules in order, all of which are for the same two ends."""
    allowed, undecided = NOTHING, EVERYTHING
    for rule in rules:
        matched = undecided & Traffic.of(rule.services)
        if rule.action == "allow":
            allowed |= matched
        undecided -= matched
        if ANY_SERVICE in rule.services:
            break
    return allowed
