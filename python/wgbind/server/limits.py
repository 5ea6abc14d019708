"""What a running server runs out of, told when it does."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Literal, TypeAlias

from wgbind.errors import FirewallError
from wgbind.firewall import apply as firewall
from wgbind.settings.address import pools

if TYPE_CHECKING:
    from collections.abc import Callable

    from wgbind._native import Device
    from wgbind.settings.model import ServerSettings
    from wgbind.store.store import Store

Limit: TypeAlias = Literal["addresses", "connections", "handshakes"]

# What the device counts of handshake messages that came too fast.
_REFUSED = ("under_load", "rate_limited", "crowded")
# What goes on is told so often.
_REPEAT_SECONDS = 60.0


@dataclass
class Tally:
    """How often something was refused since that was told last."""

    total: int = 0
    told: int = 0
    told_at: float = -_REPEAT_SECONDS

    def news(self, total: int, now: float) -> int:
        """Take the counter's value; return what is to be told, 0 for nothing."""
        if total < self.total:
            self.told = 0  # it began anew
        self.total = total
        if total == self.told or now < self.told_at + _REPEAT_SECONDS:
            return 0
        count, self.told, self.told_at = total - self.told, total, now
        return count


class Limits:
    """Tells when the last address is given out, and when connections or handshakes are refused.

    Args:
        name: The server's.
        device: Its device.
        store: Its store.
        tell: Takes which limit was reached, and how, in words.
    """

    def __init__(
        self, name: str, device: Device, store: Store, tell: Callable[[Limit, str], object]
    ) -> None:
        self._name = name
        self._device = device
        self._store = store
        self._tell = tell
        self._full: frozenset[str] = frozenset()
        self._connections = Tally()
        self._handshakes = Tally()

    def look_at_addresses(self, settings: ServerSettings) -> None:
        """Look whether a network of the server has no free address any more.

        Raises `StoreError`.
        """
        own = [address.ip for address in settings.interface.addresses]
        full = frozenset(
            str(pool.network)
            for pool in pools(settings.interface.addresses)
            if self._store.free(self._name, pool, settings.pool, own) <= 0
        )
        for network in sorted(full - self._full):
            self._tell("addresses", f"all addresses in {network} that peers can get are given out")
        self._full = full

    def look_at_counters(self, settings: ServerSettings) -> None:
        """Look at what was refused. Raises `DeviceError`.

        Nobody tells of it: the kernel has no messages of counters, and a flood shall cost the
        device no more than to count it.
        """
        now = monotonic()
        drops = self._device.status([]).drops
        count = self._handshakes.news(sum(drops.get(each, 0) for each in _REFUSED), now)
        if count:
            self._tell(
                "handshakes",
                f"{count} handshake messages came faster than they are answered; those who sent "
                "them have to prove their address first",
            )
        limit = settings.policy.connection_limit
        if limit is not None:
            try:
                refused = firewall.refused(self._name, "over_limit")
            except FirewallError:
                return  # the next convergence meets it, too
            count = self._connections.news(refused, now)
            if count:
                self._tell(
                    "connections",
                    f"{count} new connections were refused to peers that began more than "
                    f"policy.connection_limit = {limit} a second",
                )
