"""Hosts around the crossroads by name, and who of them reaches whom."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, TypeAlias

from net.crossroads import HOST, LAN, TUNNEL, WAN1, WAN2, Crossroads, Probe
from net.judged import policy_of
from net.written import Written
from wgbind.firewall.apply import Firewall, remove

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from net.crossroads import Seen
    from net.probe import Protocol

ENDS = {
    "alice": (TUNNEL, "10.77.0.2", "fd77::2"),
    "bob": (TUNNEL, "10.77.0.3", "fd77::3"),
    "carol": (TUNNEL, "10.77.0.4", "fd77::4"),
    "behind carol": (TUNNEL, "10.90.0.9", "fd90::9"),
    "dave": (TUNNEL, "10.77.0.5", "fd77::5"),
    "lan": (LAN, "192.168.7.9", "fd07::9"),
    "office": (LAN, "192.168.8.9", "fd08::9"),
    "internet": (WAN1, "192.0.2.7", "2a00:100::7"),
    "elsewhere": (WAN2, "198.51.100.7", "2a00:2::7"),
    "host": (HOST, "10.77.0.1", "fd77::1"),
}
"""The link and the addresses of each; "elsewhere" is the internet behind the other way out."""

IN_TUNNEL = frozenset(name for name, (link, *_) in ENDS.items() if link == TUNNEL)
OUTSIDE = frozenset(ENDS) - IN_TUNNEL - {"host"}

Reached: TypeAlias = "set[tuple[str, str, Protocol]]"
"""Who reaches whom with what."""


def probe(
    source: str, destination: str, version: int, protocol: Protocol = "udp", port: int = 9
) -> Probe:
    """Return a packet from an end to another one; version 0 is IPv4 and 1 is IPv6."""
    enters, *sources = ENDS[source]
    return Probe.of(enters, sources[version], ENDS[destination][1 + version], protocol, port)


def between(sources: Iterable[str], destinations: Iterable[str], *protocols: Protocol) -> Reached:
    """Return all pairs of different ends."""
    to = list(destinations)
    return {
        (one, other, protocol)
        for one in sources
        for other in to
        if one != other
        for protocol in protocols
    }


UNTOUCHED = OUTSIDE | {"host"}
"""Between these nothing is for wgbind to decide."""


class Guarded(Crossroads):
    """The crossroads with a policy in force, changed as a running server changes it."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._firewall = self.server.call(Firewall, self.tunnel)
        self.enforce(Written())  # and with it connections are tracked
        self.forget_soon()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._firewall.close()
        super().__exit__(exc_type, exc_value, traceback)

    def enforce(self, written: Written) -> None:
        """Put a policy in force."""
        self.server.call(self._firewall.apply, policy_of(written, self.tunnel))

    def restart(self) -> None:
        """Forget what was put in force, as a server that is killed and started again."""
        self._firewall.close()
        self._firewall = self.server.call(Firewall, self.tunnel)

    def lift(self) -> None:
        """Take the policy away."""
        self.server.call(remove, self.tunnel)


def reached(crossroads: Crossroads, *protocols: Protocol, port: int = 9) -> Reached:
    """Try all pairs of ends; return those that reach each other, by IPv4 and by IPv6 alike.

    What is not for wgbind to decide has to pass, and is left out.
    """
    tries = [
        (one, other, protocol) for one, other in permutations(ENDS, 2) for protocol in protocols
    ]
    by_version: list[Reached] = []
    for version in (0, 1):
        found = crossroads.pass_through(probe(*pair[:2], version, pair[2], port) for pair in tries)
        by_version.append({pair for pair, seen in zip(tries, found, strict=True) if seen})
    assert by_version[0] == by_version[1]
    untouched = between(UNTOUCHED, UNTOUCHED, *protocols)
    assert by_version[0] >= untouched
    return by_version[0] - untouched


def pass_one(crossroads: Crossroads, *args: object, **kwargs: object) -> Seen | None:
    """Send one `probe` and return where it came out."""
    (seen,) = crossroads.pass_through([probe(*args, **kwargs)])  # type: ignore[arg-type]
    return seen
