"""Rules of policy routing (ip-rule(8)): which packets look into which routing table.

All rules of one server have priorities of one block, and its own tables are that block's, too. The
block's first rule names the server's interface and looks into a table that is always empty: by it
the block is found again, also by a server that was killed and starts anew. It comes before all
others and goes after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from wgbind.errors import ConflictError
from wgbind.net import sysctl
from wgbind.net.host_lock import host_lock
from wgbind.net.netlink import (
    FAMILIES,
    OUR_PROTOCOL,
    doing,
    gone_counts_as_deleted,
    netlink,
    outside_event_loop,
)
from wgbind.net.route import RT_TABLE_MAIN, remove_routes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from wgbind.net.netlink import Kernel
    from wgbind.settings.address import Network

FIRST_PRIORITY = 10000
"""Before the rules of wg-quick (32764 and 32765) and the main table's (32766)."""

FIRST_TABLE = 0x57470000
"""Beyond all that people write by hand: "WG", the block's number, the table's."""

BLOCKS = 256
STEPS = 16
TABLES = 256

NO_SUPPRESSION = 0xFFFFFFFF
"""What the kernel reports of a rule that suppresses nothing (net/core/fib_rules.c)."""


@dataclass(frozen=True)
class Rule:
    """Packets of one kind look into one table; what matches all is given, None matches any.

    Attributes:
        version: Of IP.
        step: Its place among the server's rules, 1 to 15; those of one step have no order.
        table: The table's number.
        source: Where the packet is from.
        interface: Where it came in; "lo" is for what this host itself sends.
        mark: Its firewall mark, and the bits that count.
        specific: Pass over the table's default route.
    """

    version: int
    step: int
    table: int = RT_TABLE_MAIN
    source: Network | None = None
    interface: str | None = None
    mark: tuple[int, int] | None = None
    specific: bool = False

    def __str__(self) -> str:
        words = [f"{'IPv6 ' if self.version == 6 else ''}from {self.source or 'all'}"]
        if self.interface is not None:
            words.append(f"iif {self.interface}")
        if self.mark is not None:
            words.append(f"fwmark {self.mark[0]:#x}/{self.mark[1]:#x}")
        words.append(f"lookup {'main' if self.table == RT_TABLE_MAIN else self.table}")
        if self.specific:
            words.append("suppress_prefixlength 0")
        return " ".join(words)


@dataclass(frozen=True)
class Block:
    """The priorities and tables of one server."""

    number: int

    def priority(self, step: int) -> int:
        """Return the priority of the rules of a step, 0 to 15."""
        return FIRST_PRIORITY + self.number * STEPS + step

    def table(self, number: int) -> int:
        """Return the number that the kernel knows the block's table `number`, 1 to 255, by."""
        return FIRST_TABLE + self.number * TABLES + number

    @property
    def tables(self) -> range:
        """All tables of the block."""
        return range(self.table(0), self.table(TABLES))


@outside_event_loop
def claim_block(name: str, folder: Path) -> Block:
    """Return the block of the server with interface `name`; take a free one if it has none.

    `folder` is where the servers of this host keep their run-time files. Raises `NetworkError`,
    `PrivilegeError`, and `ConflictError` if all blocks are taken.
    """
    with host_lock(folder), netlink("routing rules") as kernel:
        found = _find(kernel, name)
        if found is not None:
            return found
        taken = {(priority - FIRST_PRIORITY) // STEPS for priority, _ in _rules(kernel)}
        for block in map(Block, range(BLOCKS)):
            if block.number not in taken:
                _change(kernel, "add", block, _first(name, block))
                return block
    raise ConflictError("routing rules: all blocks are taken (ip rule show); stop another server")


@outside_event_loop
def find_block(name: str) -> Block | None:
    """Return the block of the server with interface `name`, if it has one.

    Raises `NetworkError`.
    """
    with netlink("routing rules") as kernel:
        return _find(kernel, name)


@outside_event_loop
def remove_rules(block: Block, besides: Iterable[Rule] = ()) -> list[str]:
    """Remove the block's rules, all but its first and those in `besides`.

    Returns what changed, a line each. Raises `NetworkError`, `PrivilegeError`.
    """
    with netlink("routing rules") as kernel:
        stale = sorted(_present(kernel, block) - set(besides), key=str)
        for rule in stale:
            _change(kernel, "del", block, rule)
    return [f"rule {rule} removed" for rule in stale]


@outside_event_loop
def add_rules(block: Block, rules: Iterable[Rule]) -> list[str]:
    """Add those of the rules that the block has not yet.

    Those for IPv6 are left out where the kernel has none. Returns what changed, a line each. Raises
    `NetworkError`, `PrivilegeError`.
    """
    wanted = {rule for rule in rules if rule.version in _versions()}
    with netlink("routing rules") as kernel:
        missing = sorted(wanted - _present(kernel, block), key=str)
        for rule in missing:
            _change(kernel, "add", block, rule)
    return [f"rule {rule} added" for rule in missing]


@outside_event_loop
def release_block(name: str) -> bool:
    """Remove all rules and routes of a server's block; return whether it had one.

    Raises `NetworkError`, `PrivilegeError`.
    """
    block = find_block(name)
    if block is None:
        return False
    remove_rules(block)
    remove_routes(block.tables)
    with netlink("routing rules") as kernel:
        _change(kernel, "del", block, _first(name, block))
    return True


def _first(name: str, block: Block) -> Rule:
    return Rule(4, 0, block.table(0), interface=name)


def _find(kernel: Kernel, name: str) -> Block | None:
    for number, rule in _rules(kernel):
        block = Block((number - FIRST_PRIORITY) // STEPS)
        if rule == _first(name, block):
            return block
    return None


def _present(kernel: Kernel, block: Block) -> set[Rule]:
    steps = range(block.priority(1), block.priority(STEPS))
    return {rule for number, rule in _rules(kernel) if number in steps}


def _rules(kernel: Kernel) -> Iterator[tuple[int, Rule]]:
    """Our rules, of all servers, with their priorities."""
    for version in _versions():
        for message in kernel.get_rules(family=FAMILIES[version]):
            priority = message.get("FRA_PRIORITY", 0)
            if message.get("FRA_PROTOCOL") != OUR_PROTOCOL or priority < FIRST_PRIORITY:
                continue
            source, mark = message.get("FRA_SRC"), message.get("FRA_FWMARK")
            yield (
                priority,
                Rule(
                    version=version,
                    step=(priority - FIRST_PRIORITY) % STEPS,
                    table=message.get("FRA_TABLE"),
                    source=None if source is None else ip_network((source, message["src_len"])),
                    interface=message.get("FRA_IIFNAME"),
                    mark=None if mark is None else (mark, message.get("FRA_FWMASK")),
                    specific=message.get("FRA_SUPPRESS_PREFIXLEN", NO_SUPPRESSION) == 0,
                ),
            )


def _versions() -> tuple[int, ...]:
    return (4, 6) if sysctl.read("net/ipv6/conf/all/disable_ipv6") is not None else (4,)


def _change(kernel: Kernel, command: str, block: Block, rule: Rule) -> None:
    fields: dict[str, object] = {
        "family": FAMILIES[rule.version],
        "priority": block.priority(rule.step),
        "table": rule.table,
        "protocol": OUR_PROTOCOL,
    }
    if rule.source is not None:
        fields |= {"src": str(rule.source.network_address), "src_len": rule.source.prefixlen}
    if rule.interface is not None:
        fields["iifname"] = rule.interface
    if rule.mark is not None:
        fields |= {"fwmark": rule.mark[0], "fwmask": rule.mark[1]}
    if rule.specific:
        fields["suppress_prefixlen"] = 0
    with doing(f"rule {rule}"), gone_counts_as_deleted(command):
        kernel.rule(command, **fields)
