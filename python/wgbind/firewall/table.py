"""An nftables table as data, and the transactions that make one into another.

What stands and what changes is arranged so that a packet never meets a mixture. The kernel judges a
packet in one chain of a hook, and all that this jumps to, by the rules of one generation, the one
that was current when it began. The elements of sets it looks up by the generation that is current
at that moment. Hence

- base chains stay in their hooks and exchange their rules: a new one would be in the hook beside
  the old one, and a packet could pass the new one before it has rules, and the old one after it
  lost them;
- other chains and most sets never change: their names tell their content, and another content is
  another chain or set, which only the new rules know;
- what is new is made in transactions before the one that exchanges the rules of the base chains.
  Sets of ranges need that: a kernel that searches them in an array, such as 6.18.44, fills it only
  some time after their generation became current, and until then finds nothing in them. For the
  others it keeps the transactions within what a container may send at once;
- who leaves is given this host's address in a hook behind the one that lets him pass. By whose
  rules he passed cannot be known there, so that for the moment of the exchange he passes it only as
  both the old and the new rules have him, and not at all where they differ;
- elements come into a standing set, or leave it, only if nothing else is known of them, neither
  before nor after (`compile` sees to it);
- there are no maps: when one goes, the kernel hides its elements from the old rules, too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from wgbind.firewall.expression import ACCEPT, DROP, MASQUERADE, goto
from wgbind.firewall.nfnetlink import attribute, nested, number, text
from wgbind.firewall.nftables import APPEND, CREATE, Kind, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wgbind.firewall.expression import Expression

# Names of linux/netfilter/nf_tables.h, without NFT.
SET_INTERVAL = 0x4
_SET_TIMEOUT, _SET_EVAL = 0x10, 0x20
ELEMENT_INTERVAL_END = 1
_OBJECT_COUNTER = 1

_HOST_BYTE_ORDER = struct.pack("=BBI", 0, 4, 1)
"""What nft wants to know of a set (libnftnl/udata.h), lest it reads names backwards."""

_MESSAGE_ELEMENTS = 2000
"""In one message; an attribute has 65,535 bytes at most, an element up to 32."""


class KeyType(Enum):
    """Of what a set's elements are: as nft numbers the type, and its length in bytes."""

    IPV4 = (7, 4)
    IPV6 = (8, 16)
    PORT = (13, 2)
    INTERFACE = (41, 16)
    OTHER = (0, 0)


Range: TypeAlias = tuple[int, int]
"""The first and the last of successive keys."""


@dataclass(frozen=True)
class Set:
    """A set of keys, or of ranges of keys that neither overlap nor touch.

    A memory is filled by a rule, in the kernel, and forgets after `memory` seconds.
    """

    key: KeyType
    elements: frozenset[bytes] = frozenset()
    ranges: tuple[Range, ...] = ()
    memory: int = 0

    def encoded(self) -> frozenset[tuple[bytes, bool]]:
        """Return the elements as the kernel has them: keys, and whether a range ends before one."""
        _, length = self.key.value
        return frozenset(
            [
                *((key, False) for key in self.elements),
                *((first.to_bytes(length, "big"), False) for first, _ in self.ranges),
                *(
                    ((last + 1).to_bytes(length, "big"), True)
                    for _, last in self.ranges
                    if last + 1 < 1 << 8 * length
                ),
            ]
        )


class Rule(NamedTuple):
    """A rule: encoded expressions, and what people read beside it."""

    expressions: Expression
    comment: str = ""


class Hook(NamedTuple):
    """Where in the way of a packet a base chain is; numbers of linux/netfilter.h."""

    type: str
    number: int
    priority: int
    policy: int = 1
    """What becomes of the packets that its rules leave: they are accepted."""


PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)


@dataclass(frozen=True)
class Chain:
    """Rules in order; a base chain has a hook."""

    rules: tuple[Rule, ...]
    hook: Hook | None = None


UNREAD = (Rule(b""),)
"""The rules of a chain that nobody has looked at; no chain has just these."""


@dataclass(frozen=True)
class Table:
    """All that stands in a table, by name."""

    name: str
    counters: frozenset[str] = frozenset()
    sets: Mapping[str, Set] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)


def stages(old: Table | None, new: Table) -> list[Table]:
    """Return what the way from an old table to a new one passes, and at last the new one.

    Each is one transaction from the one before, but for the first: that makes what is new where no
    packet comes yet, all but the rules of base chains, and may be done in parts.
    """
    old = old or Table(new.name)
    if not _shares_hooks(old, new):
        return [old, new]
    counters = old.counters | new.counters
    inner = {name: chain for name, chain in new.chains.items() if chain.hook is None}
    beginning = Table(old.name, counters, {**new.sets, **old.sets}, {**inner, **old.chains})
    leaving = [
        name
        for name, chain in old.chains.items()
        if chain.hook is not None
        and chain.hook[:2] == ("nat", POSTROUTING)
        and chain.rules not in (UNREAD, new.chains[name].rules)
    ]
    if not leaving:
        return [beginning, new]
    agreed: dict[str, Chain] = {}
    for name in leaving:
        agreed |= _agreed(name, old.chains[name], new.chains[name])
    exchanged = Table(old.name, counters, {**old.sets, **new.sets}, {**new.chains, **agreed})
    return [beginning, exchanged, new]


def _agreed(name: str, old: Chain, new: Chain) -> dict[str, Chain]:
    """Return a chain, and those it jumps to, that translates as `old` and `new` both do.

    What one of them would translate and the other would not is dropped. Each rule of either ends
    with `ACCEPT` or `MASQUERADE`, and what none of them matches is accepted.
    """
    if_new = {ACCEPT: f"{name}/accept", MASQUERADE: f"{name}/masquerade"}
    chains = {
        label: _judged(Chain(old.rules), {ACCEPT: DROP, MASQUERADE: DROP, wanted: wanted})
        for wanted, label in if_new.items()
    }
    return chains | {name: _judged(new, {wanted: goto(label) for wanted, label in if_new.items()})}


def _judged(chain: Chain, becomes: Mapping[Expression, Expression]) -> Chain:
    """Return a chain of translations with what each of its verdicts becomes, its last one too."""
    rules = []
    for match, comment in (*chain.rules, Rule(ACCEPT)):
        verdict = MASQUERADE if match.endswith(MASQUERADE) else ACCEPT
        rules.append(Rule(match.removesuffix(verdict) + becomes[verdict], comment))
    return Chain(tuple(rules), chain.hook)


def difference(old: Table | None, new: Table) -> Iterator[Message]:
    """Return the transaction from an old table, None if there is none, to a new one.

    A table with other base chains than the new one, somebody else's work or another version's, is
    replaced as a whole.
    """
    build = _Build(new.name)
    if old is not None and not _shares_hooks(old, new):
        yield Message(Kind.DELETE_TABLE, 0, text(1, old.name))
        old = None
    if old is None:
        old = Table(new.name)
        yield Message(Kind.NEW_TABLE, CREATE, text(1, new.name))
    changed = [name for name, chain in new.chains.items() if old.chains.get(name) != chain]
    gone = [name for name in old.chains if name not in new.chains]
    yield from map(build.counter, sorted(new.counters - old.counters))
    yield from build.sets(old.sets, new.sets)
    yield from (build.chain(name, new.chains[name]) for name in changed if name not in old.chains)
    yield from (build.flush(name) for name in (*changed, *gone) if name in old.chains)
    yield from (build.rule(name, rule) for name in changed for rule in new.chains[name].rules)
    # Sets before chains: somebody's map may lead to one.
    yield from (build.delete(Kind.DELETE_SET, 2, name) for name in old.sets if name not in new.sets)
    yield from (build.delete(Kind.DELETE_CHAIN, 3, name) for name in gone)
    yield from (
        build.delete(Kind.DELETE_OBJECT, 2, name, number(3, _OBJECT_COUNTER))
        for name in sorted(old.counters - new.counters)
    )


def _shares_hooks(old: Table, new: Table) -> bool:
    """Whether all chains that stand in a hook in the old table do so in the new one."""
    return all(
        chain.hook == (new.chains[name].hook if name in new.chains else None)
        for name, chain in old.chains.items()
    )


class _Build:
    """Encodes the messages about one table."""

    def __init__(self, table: str) -> None:
        self._table = text(1, table)
        self._sets = 0

    def counter(self, name: str) -> Message:
        body = (text(2, name), number(3, _OBJECT_COUNTER), nested(4))
        return self._message(Kind.NEW_OBJECT, CREATE, *body)

    def chain(self, name: str, chain: Chain) -> Message:
        body = [text(3, name)]
        if chain.hook is not None:
            body += [
                nested(4, number(1, chain.hook.number), number(2, chain.hook.priority)),
                number(5, chain.hook.policy),
                text(7, chain.hook.type),
            ]
        return self._message(Kind.NEW_CHAIN, CREATE, *body)

    def flush(self, chain: str) -> Message:
        return self._message(Kind.DELETE_RULE, 0, text(2, chain))

    def rule(self, chain: str, rule: Rule) -> Message:
        body = [text(2, chain), nested(4, rule.expressions)]
        if rule.comment:
            comment = rule.comment.encode()[:126] + b"\0"
            body.append(attribute(7, bytes([0, len(comment)]) + comment))
        return self._message(Kind.NEW_RULE, CREATE | APPEND, *body)

    def sets(self, old: Mapping[str, Set], new: Mapping[str, Set]) -> Iterator[Message]:
        for name, each in new.items():
            before = old.get(name)
            if before is None:
                yield self._set(name, each)
                before = Set(each.key)
            elif before is each:
                continue
            old_elements, new_elements = before.encoded(), each.encoded()
            for kind, elements in (
                (Kind.DELETE_ELEMENTS, old_elements - new_elements),
                (Kind.NEW_ELEMENTS, new_elements - old_elements),
            ):
                yield from self._elements(kind, name, elements)

    def delete(self, kind: Kind, attribute: int, name: str, *more: bytes) -> Message:
        return self._message(kind, 0, text(attribute, name), *more)

    def _set(self, name: str, each: Set) -> Message:
        kind, length = each.key.value
        flags = SET_INTERVAL if each.ranges else 0
        self._sets += 1
        body = [text(2, name), number(4, kind), number(5, length), number(10, self._sets)]
        if each.key is KeyType.INTERFACE:
            body.append(attribute(13, _HOST_BYTE_ORDER))
        if each.memory:
            flags |= _SET_TIMEOUT | _SET_EVAL
            body.append(attribute(11, (1000 * each.memory).to_bytes(8, "big")))
            body.append(nested(9, number(1, MEMORY_SIZE)))
        return self._message(Kind.NEW_SET, CREATE, *body, number(3, flags))

    def _elements(
        self, kind: Kind, name: str, elements: Iterable[tuple[bytes, bool]]
    ) -> Iterator[Message]:
        # The kernel wants the ends of ranges before their beginnings, as nft sends them.
        ordered = sorted(elements, reverse=True)
        found = [_element(key, ends=ends) for key, ends in ordered]
        # The end of a range and its beginning stay together; the first may lack its end.
        for start in range(-(len(found) % 2), len(found), _MESSAGE_ELEMENTS):
            part = nested(3, *found[max(start, 0) : start + _MESSAGE_ELEMENTS])
            yield self._message(kind, CREATE, text(2, name), part)

    def _message(self, kind: Kind, flags: int, *attributes: bytes) -> Message:
        return Message(kind, flags, b"".join((self._table, *attributes)))


MEMORY_SIZE = 65535
"""Elements in a memory; rules do not match what finds no room there."""


def _element(key: bytes, *, ends: bool = False) -> bytes:
    flags = (number(3, ELEMENT_INTERVAL_END),) if ends else ()
    return nested(1, nested(1, attribute(1, key)), *flags)
