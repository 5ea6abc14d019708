"""From policy to kernel: all or nothing, ours alone, and at no moment anything between.

A change is one transaction, from one policy to the other; `table` says what is prepared before it
and cleared up after it.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from wgbind.errors import FirewallError, WgbindError
from wgbind.firewall.compile import compile_policy, table_name
from wgbind.firewall.conntrack import end_forbidden
from wgbind.firewall.frame import REASONS, counter_name
from wgbind.firewall.listing import (
    Counter,
    list_counters,
    list_rules,
    read_counter,
    read_table,
)
from wgbind.firewall.nfnetlink import StaleError, text
from wgbind.firewall.nftables import Kind, Message, NfTables, cut, next_generation
from wgbind.firewall.table import UNREAD, Chain, difference, stages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

    from wgbind.firewall.compile import Compiled
    from wgbind.firewall.listing import Listing
    from wgbind.firewall.policy import Policy
    from wgbind.settings.forward import Forward
    from wgbind.settings.rule import Rule

_log = logging.getLogger(__name__)

ATTEMPTS = 20
"""How often a transaction, or a dump, is made anew because others change their rules just then."""


@dataclass(frozen=True)
class Counters:
    """What the rules of an interface counted since they are there; `by_name` is the kernel's."""

    by_name: Mapping[str, Counter]

    @property
    def refused(self) -> dict[str, int]:
        """Packets that were dropped, by `REASONS`; rules that deny count apart."""
        return {name: self.by_name[name].packets for name in REASONS if name in self.by_name}

    def of(self, rule: Rule | Forward) -> Counter:
        """Return what a rule decided: the packets that connections begin with."""
        return self.by_name.get(counter_name(rule), Counter(0, 0))


class Firewall:
    """The rules of one interface, in the network namespace in which this is made.

    It remembers what it applied last, and looks at the kernel's tables only if somebody else
    changed any since: the kernel numbers each change.

    Args:
        interface: The tunnel's interface.
    """

    def __init__(self, interface: str) -> None:
        self._table = table_name(interface)
        self._kernel = NfTables()
        self._applied: Compiled | None = None
        self._listing: Listing = {}
        self._generation = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection to the kernel; the rules stay."""
        self._kernel.close()

    def apply(self, policy: Policy) -> bool:
        """Put a policy in force, in place of the interface's earlier one.

        Connections that it does not allow any more end. Returns whether anything had to change.
        Raises `FirewallError` if the kernel refuses, in which case the earlier rules stay in
        force; `PrivilegeError` without the right.
        """
        for _ in range(ATTEMPTS):
            with suppress(StaleError):
                return self._apply(policy)
        raise FirewallError(
            f"nftables: another program changed rules {ATTEMPTS} times while these were applied; "
            "which one is it?"
        )

    def _apply(self, policy: Policy) -> bool:
        before = self._applied
        generation = self._kernel.generation()
        if generation != self._generation and not self._is_intact():
            self._applied = None
        wanted = compile_policy(policy, self._applied)
        old = (
            read_table(self._kernel, self._table) if self._applied is None else self._applied.table
        )
        tables = stages(old, wanted.table)
        steps = [list(difference(*pair)) for pair in zip((old, *tables), tables, strict=False)]
        for transaction in (*cut(steps[0]), *filter(None, steps[1:])):
            self._kernel.commit(transaction, generation)
            self._applied = None  # until the rest is done, too
            generation = next_generation(generation)
        self._generation = generation
        if before is None or wanted.may_deny(before):
            _end_forbidden(policy)
        if any(step.kind in {Kind.NEW_RULE, Kind.DELETE_RULE} for step in chain(*steps)):
            self._listing = list_rules(self._kernel, self._table)
            if self._kernel.generation() != generation:
                return True  # whose rules these are is not known: the next time they are put right
        self._applied = wanted
        return any(steps)

    def _is_intact(self) -> bool:
        """Whether the kernel still has what was applied last."""
        if self._applied is None:
            return False
        table = self._applied.table
        unread = {name: Chain(UNREAD, each.hook) for name, each in table.chains.items()}
        return (
            read_table(self._kernel, self._table) == replace(table, chains=unread)
            and list_rules(self._kernel, self._table) == self._listing
        )


def _end_forbidden(policy: Policy) -> None:
    try:
        ended = end_forbidden(policy)
    except WgbindError as error:
        _log.warning("firewall: connections that older rules allowed go on: %s", error)
    else:
        if ended:
            _log.info("firewall: %d connections ended that the rules do not allow any more", ended)


def remove(interface: str) -> bool:
    """Remove an interface's table and return whether there was one.

    Raises `FirewallError`, `PrivilegeError`.
    """
    body = text(1, table_name(interface))
    with NfTables() as kernel:
        if kernel.get(Kind.GET_TABLE, body) is None:
            return False
        kernel.commit([Message(Kind.DELETE_TABLE, 0, body)])
        return True


def current(interface: str) -> Counters | None:
    """Read an interface's counters; None if it has no table.

    Raises `FirewallError`, `PrivilegeError`.
    """
    table = table_name(interface)
    with NfTables() as kernel:
        for _ in range(ATTEMPTS):
            if kernel.get(Kind.GET_TABLE, text(1, table)) is None:
                return None
            with suppress(StaleError):
                return Counters(dict(list_counters(kernel, table)))
    raise FirewallError(f"nftables: rules changed {ATTEMPTS} times while counters were read")


def refused(interface: str, reason: str) -> int:
    """Read how many packets of an interface were dropped for one of `REASONS`.

    Raises `FirewallError`, `PrivilegeError`.
    """
    with NfTables() as kernel:
        return read_counter(kernel, table_name(interface), reason).packets
