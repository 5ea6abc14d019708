"""What stands in a table of the kernel's."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from wgbind.firewall.nfnetlink import attribute, attributes, number, text
from wgbind.firewall.nftables import Kind
from wgbind.firewall.table import (
    ELEMENT_INTERVAL_END,
    SET_INTERVAL,
    UNREAD,
    Chain,
    Hook,
    KeyType,
    Set,
    Table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wgbind.firewall.nftables import NfTables
    from wgbind.firewall.table import Range

Listing: TypeAlias = dict[str, list[tuple[bytes, bytes]]]
"""The rules of each chain that has any: expressions as the kernel encodes them, and user data."""

_OBJECT_COUNTER = 1


@dataclass(frozen=True)
class Counter:
    """What a rule decided about, or what was dropped for one reason."""

    packets: int
    bytes: int


def read_table(kernel: NfTables, table: str) -> Table | None:
    """Read a table but for the rules; None if there is none."""
    selection = text(1, table)
    if kernel.get(Kind.GET_TABLE, selection) is None:
        return None
    chains = {}
    for chain in kernel.dump(Kind.GET_CHAIN, b""):
        if _name(chain[1]) == table:
            chains[_name(chain[3])] = Chain(UNREAD, _hook(chain) if 4 in chain else None)
    sets = {
        _name(each[2]): _read_set(kernel, selection, each)
        for each in kernel.dump(Kind.GET_SET, selection)
    }
    counters = frozenset(name for name, _ in list_counters(kernel, table))
    return Table(table, counters, sets, chains)


def list_counters(kernel: NfTables, table: str) -> Iterator[tuple[str, Counter]]:
    """Read the counters of a table."""
    selection = text(1, table) + number(3, _OBJECT_COUNTER)
    for each in kernel.dump(Kind.GET_OBJECT, selection):
        yield _name(each[2]), _counter(each)


def read_counter(kernel: NfTables, table: str, name: str) -> Counter:
    """Read one counter of a table; zero if it is not there."""
    selection = text(1, table) + text(2, name) + number(3, _OBJECT_COUNTER)
    found = kernel.get(Kind.GET_OBJECT, selection)
    return Counter(0, 0) if found is None else _counter(found)


def list_rules(kernel: NfTables, table: str) -> Listing:
    """Read the rules of a table."""
    rules: Listing = {}
    for rule in kernel.dump(Kind.GET_RULE, text(1, table)):
        rules.setdefault(_name(rule[2]), []).append((rule.get(4, b""), rule.get(7, b"")))
    return rules


def _counter(described: dict[int, bytes]) -> Counter:
    counted = dict(attributes(described[4]))
    return Counter(*(int.from_bytes(counted[kind], "big") for kind in (2, 1)))


def _read_set(kernel: NfTables, selection: bytes, described: dict[int, bytes]) -> Set:
    number = int.from_bytes(described[4], "big")
    key = next((each for each in KeyType if each.value[0] == number), KeyType.OTHER)
    memory = int.from_bytes(described.get(11, b""), "big") // 1000
    if memory:
        return Set(key, memory=memory)
    elements = [
        dict(attributes(element))
        for part in kernel.dump(Kind.GET_ELEMENTS, selection + attribute(2, described[2]))
        for _, element in attributes(part.get(3, b""))
    ]
    if int.from_bytes(described.get(3, b""), "big") & SET_INTERVAL:
        return Set(key, ranges=tuple(_ranges(elements)))
    return Set(key, frozenset(_key(element) for element in elements))


def _ranges(elements: list[dict[int, bytes]]) -> Iterator[Range]:
    """Join the keys where ranges begin with those before which they end."""
    begin, bits = None, 0
    for key, begins in sorted((_key(element), not _ends(element)) for element in elements):
        bits = 8 * len(key)
        if begins:
            begin = int.from_bytes(key, "big")
        elif begin is not None:
            yield begin, int.from_bytes(key, "big") - 1
            begin = None
    if begin is not None:
        yield begin, (1 << bits) - 1


def _key(element: dict[int, bytes]) -> bytes:
    [(_, key)] = attributes(element[1])
    return key


def _ends(element: dict[int, bytes]) -> bool:
    return bool(int.from_bytes(element.get(3, b""), "big") & ELEMENT_INTERVAL_END)


def _hook(chain: dict[int, bytes]) -> Hook:
    hook = dict(attributes(chain[4]))
    number, priority = struct.unpack("!Ii", hook[1] + hook[2])
    return Hook(_name(chain[7]), number, priority, int.from_bytes(chain[5], "big"))


def _name(data: bytes) -> str:
    return data.rstrip(b"\0").decode()
