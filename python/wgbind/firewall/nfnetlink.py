"""A connection to the kernel's nf_tables (linux/netfilter/nf_tables.h): transactions and dumps.

Straight, and not through the `nft` program: that reads and lists whole tables as text, which for
10,000 peers takes it seconds, and cannot say that its transaction is void if somebody else's came
first.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import suppress
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from wgbind.errors import FirewallError, PrivilegeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from typing_extensions import Self

NFPROTO_INET = 1

# linux/netlink.h, linux/netfilter/nfnetlink.h and asm-generic/socket.h; Python has no names.
_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_SO_SNDBUFFORCE = 32
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_DUMP_INTERRUPTED = 0x10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_BATCH_GENERATION = 1
_SUBSYSTEM = 10
_NESTED = 0x8000

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_NFGEN = struct.Struct("!BBH")  # family, version, resource
_ATTRIBUTE = struct.Struct("=HH")  # length with this, type
_U32 = struct.Struct("!I")
_RECEIVE = 1 << 18
_TIMEOUT = 30.0
"""Seconds; a transaction takes milliseconds."""


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


class StaleError(FirewallError):
    """Somebody else changed the rules since the generation that a transaction is for."""


def attribute(kind: int, value: bytes) -> bytes:
    """Encode an attribute, with its padding."""
    length = 4 + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Encode an attribute that has attributes in it."""
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """Encode an attribute that is a name."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """Encode an attribute of 32 bits."""
    return attribute(kind, _U32.pack(value & 0xFFFFFFFF))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Decode attributes, in order."""
    offset = 0
    while offset < len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        yield kind & ~_NESTED, data[offset + 4 : offset + length]
        offset += length + -length % 4


def next_generation(generation: int) -> int:
    """Return the number that a transaction gives to the ruleset, if no other came between."""
    return (generation + 1) & 0xFFFFFFFF or 1


class Nfnetlink:
    """A socket to the nf_tables of the network namespace in which it is made.

    Its methods raise `FirewallError` for what the kernel refuses, `PrivilegeError` without the
    right.
    """

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
            )
        except OSError:
            raise FirewallError("nftables: this kernel has none (nf_tables)") from None
        self._socket.settimeout(_TIMEOUT)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._sequence = 0

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
        """Close the socket."""
        self._socket.close()

    def generation(self) -> int:
        """Return the number of the ruleset, which every transaction of anybody changes."""
        [(_, found)] = self._ask(Kind.GET_GENERATION, b"", 0)
        return int(_U32.unpack(found[1])[0])

    def get(self, kind: Kind, body: bytes) -> dict[int, bytes] | None:
        """Return the attributes of one object; None if there is no such."""
        try:
            [(_, found)] = self._ask(kind, body, 0)
        except FileNotFoundError:
            return None
        return found

    def dump(self, kind: Kind, body: bytes) -> list[dict[int, bytes]]:
        """Return the attributes of all objects that `body` selects; none if it selects no table.

        Raises `StaleError` if somebody changed them meanwhile.
        """
        try:
            return [found for _, found in self._ask(kind, body, _DUMP)]
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
        packets = [_header(_BATCH_BEGIN, 0, first, begin, family=0, resource=_SUBSYSTEM)]
        for sequence, step in enumerate(steps, first + 1):
            # The kernel says nothing of a success but for a message that asks.
            flags = step.flags | _ACK if sequence == last else step.flags
            packets.append(_header(_SUBSYSTEM << 8 | step.kind, flags, sequence, step.body))
        packets.append(_header(_BATCH_END, 0, last, b"", family=0, resource=_SUBSYSTEM))
        self._send(b"".join(packets))
        for kind, _, answered, payload in self._receive():
            if kind != _ERROR or not first <= answered <= last:
                continue  # a late answer to what failed before
            code = -struct.unpack_from("=i", payload)[0]
            if code:
                what = "" if answered == first else _what(steps[answered - first - 1].kind)
                raise _failure(code, what)
            if answered == last:
                return

    def _ask(self, kind: Kind, body: bytes, flags: int) -> list[tuple[int, dict[int, bytes]]]:
        self._sequence += 1
        self._send(_header(_SUBSYSTEM << 8 | kind, flags, self._sequence, body))
        found = []
        for answer, flag, sequence, payload in self._receive():
            if sequence != self._sequence:
                continue
            if flag & _DUMP_INTERRUPTED:
                raise StaleError("nftables: changed while it was read")
            if answer == _ERROR or (answer == _DONE and len(payload) >= 4):
                code = -struct.unpack_from("=i", payload)[0]
                if code == errno.ENOENT:
                    raise FileNotFoundError
                if code == errno.EINTR:
                    raise StaleError("nftables: changed while it was read")
                if code:
                    raise _failure(code, _what(kind))
            if answer in {_ERROR, _DONE}:
                break
            found.append((answer, dict(attributes(payload[4:]))))
            if not flags:
                break
        return found

    def _send(self, data: bytes) -> None:
        size = len(data) + 4096
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size)
        except PermissionError:  # root of a user namespace only
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        try:
            self._socket.send(data)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise FirewallError(
                    f"nftables: the rules are {len(data)} bytes, more than this container may send "
                    f"at once; set net.core.wmem_max to {size} on its host"
                ) from None
            raise _failure(error.errno or 0, "") from None

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        while True:
            try:
                data = self._socket.recv(_RECEIVE)
            except TimeoutError:
                raise FirewallError(f"nftables: no answer in {_TIMEOUT:.0f} seconds") from None
            except OSError as error:
                raise _failure(error.errno or 0, "") from None
            offset = 0
            while offset < len(data):
                length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
                yield kind, flags, sequence, data[offset + _HEADER.size : offset + length]
                offset += length + -length % 4


def _header(
    kind: int, flags: int, sequence: int, body: bytes, family: int = NFPROTO_INET, resource: int = 0
) -> bytes:
    length = _HEADER.size + _NFGEN.size + len(body)
    return (
        _HEADER.pack(length, kind, flags | _REQUEST, sequence, 0)
        + _NFGEN.pack(family, 0, resource)
        + body
    )


def _what(kind: Kind) -> str:
    return f" ({kind.name.lower().replace('_', ' ')})"


def _failure(code: int, what: str) -> FirewallError | PrivilegeError:
    if code == errno.EPERM:
        return PrivilegeError("nftables: needs CAP_NET_ADMIN; run it as root")
    if code == errno.ERESTART:
        return StaleError("nftables: somebody else changed the rules at the same time")
    return FirewallError(f"nftables: the kernel refuses it: {os.strerror(code)}{what}")
