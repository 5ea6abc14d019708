"""The kernel's nf_tables (linux/netfilter/nf_tables.h): transactions and dumps.

Straight, and not through the `nft` program: a transaction can name the generation of the ruleset
that it is for and is void if somebody else's came first, and hosts need no `nft`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from wgbind.firewall.nfnetlink import ACK, DUMP, ERROR, Nfnetlink, failure, number, packet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BATCH_BEGIN, _BATCH_END = 0x10, 0x11  # linux/netfilter/nfnetlink.h
_BATCH_GENERATION = 1

TRANSACTION = 150_000
"""Bytes; a socket sends 212,992 if nobody changed net.core.wmem_default."""

_HEADERS = 20
"""Bytes before a message's attributes."""


class Kind(IntEnum):
    """What a message is about."""

    NEW_TABLE, GET_TABLE, DELETE_TABLE = 0, 1, 2
    NEW_CHAIN, GET_CHAIN, DELETE_CHAIN = 3, 4, 5
    NEW_RULE, GET_RULE, DELETE_RULE = 6, 7, 8
    NEW_SET, GET_SET, DELETE_SET = 9, 10, 11
    NEW_ELEMENTS, GET_ELEMENTS, DELETE_ELEMENTS = 12, 13, 14
    GET_GENERATION = 16
    NEW_OBJECT, GET_OBJECT, DELETE_OBJECT = 18, 19, 20


CREATE, APPEND = 0x400, 0x800


class Message(NamedTuple):
    """One step of a transaction; `body` is its attributes."""

    kind: Kind
    flags: int
    body: bytes


def next_generation(generation: int) -> int:
    """Return the number that a transaction gives to the ruleset, if no other came between."""
    return (generation + 1) & 0xFFFFFFFF or 1


def cut(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Cut messages into transactions that every socket takes."""
    part: list[Message] = []
    size = 0
    for message in messages:
        size += _HEADERS + len(message.body)
        if part and size > TRANSACTION:
            yield part
            part, size = [], _HEADERS + len(message.body)
        part.append(message)
    if part:
        yield part


class NfTables(Nfnetlink):
    """A connection to nf_tables, for tables of the family inet."""

    subsystem = 10  # NFNL_SUBSYS_NFTABLES
    family = 1  # NFPROTO_INET

    def generation(self) -> int:
        """Return the number of the ruleset, which every transaction of anybody changes."""
        (found,) = self._ask(Kind.GET_GENERATION, b"")
        return int.from_bytes(found[1], "big")

    def get(self, kind: Kind, body: bytes) -> dict[int, bytes] | None:
        """Return the attributes of one object; None if there is no such."""
        try:
            (found,) = self._ask(kind, body)
        except FileNotFoundError:
            return None
        return found

    def dump(self, kind: Kind, body: bytes) -> list[dict[int, bytes]]:
        """Return the attributes of all objects that `body` selects; none if it selects no table.

        Raises `StaleError` if somebody changed them meanwhile.
        """
        try:
            return self._ask(kind, body, DUMP)
        except FileNotFoundError:
            return []

    def commit(self, messages: Iterable[Message], generation: int = 0) -> None:
        """Run messages as one transaction, all or nothing.

        Raises `StaleError` if the ruleset is not of `generation` any more; 0 is any.
        """
        steps = list(messages)
        first = self._sequence + 1
        self._sequence = last = first + len(steps)
        begin = number(_BATCH_GENERATION, generation)
        packets = [packet(_BATCH_BEGIN, 0, first, begin, 0, self.subsystem)]
        for sequence, step in enumerate(steps, first + 1):
            # The kernel says nothing of a success but for a message that asks.
            flags = step.flags | ACK if sequence == last else step.flags
            kind = self.subsystem << 8 | step.kind
            packets.append(packet(kind, flags, sequence, step.body, self.family))
        packets.append(packet(_BATCH_END, 0, last, b"", 0, self.subsystem))
        self._send(b"".join(packets))
        for answer in self._receive():
            if answer.kind != ERROR or not first <= answer.sequence <= last:
                continue  # a late answer to what failed before
            if answer.error:
                refused = steps[max(answer.sequence - first - 1, 0)].kind
                raise failure(answer.error, refused.name.lower().replace("_", " "))
            if answer.sequence == last:
                return
