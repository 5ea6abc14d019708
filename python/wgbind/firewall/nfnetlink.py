"""A connection to the kernel's packet filter (linux/netfilter/nfnetlink.h), and its attributes."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from wgbind.errors import FirewallError, PrivilegeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

# linux/netlink.h and asm-generic/socket.h; Python has no names for them.
ACK, DUMP = 0x4, 0x300
ERROR = 2
_DONE = 3
_REQUEST = 0x1
_DUMP_INTERRUPTED = 0x10
_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_SO_SNDBUFFORCE = 32
_NESTED = 0x8000

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_NFGEN = struct.Struct("!BBH")  # family, version, resource
_ATTRIBUTE = struct.Struct("=HH")  # length with this, type
_U32 = struct.Struct("!I")
_SEND = 1 << 24
_RECEIVE = 1 << 18
_TIMEOUT = 30.0
"""Seconds; a transaction takes milliseconds."""


class StaleError(FirewallError):
    """Somebody else changed what was read, or what a transaction is for."""


class Answer(NamedTuple):
    """A message from the kernel; its payload begins with a header of 4 bytes or an error number."""

    kind: int
    flags: int
    sequence: int
    payload: bytes

    @property
    def error(self) -> int:
        """The error number of an `ERROR`; 0 is success."""
        return -int(struct.unpack_from("=i", self.payload)[0])


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


class Nfnetlink:
    """A socket to one subsystem of the packet filter, in the network namespace where it is made.

    Its methods raise `FirewallError` for what the kernel refuses, `PrivilegeError` without the
    right.
    """

    subsystem: int
    family: int

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
            )
        except OSError:
            raise FirewallError("nftables: this kernel has none (nf_tables)") from None
        self._socket.settimeout(_TIMEOUT)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND)
        except PermissionError:  # root of a user namespace only
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND)
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

    def _ask(
        self, kind: int, body: bytes, flags: int = 0, family: int | None = None
    ) -> list[dict[int, bytes]]:
        """Return the attributes of all objects in the answer.

        Raises `FileNotFoundError` if there is no such object, `StaleError` if somebody changed
        them meanwhile.
        """
        self._sequence += 1
        family = self.family if family is None else family
        self._send(packet(self.subsystem << 8 | kind, flags, self._sequence, body, family))
        found = []
        for answer in self._receive():
            if answer.sequence != self._sequence:
                continue  # a late answer to what failed before
            if answer.flags & _DUMP_INTERRUPTED:
                raise StaleError("nftables: changed while it was read")
            if answer.kind in {ERROR, _DONE}:
                if answer.error == errno.ENOENT:
                    raise FileNotFoundError
                if answer.error:
                    raise failure(answer.error)
                break
            found.append(dict(attributes(answer.payload[_NFGEN.size :])))
            if not flags:
                break
        return found

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise FirewallError(
                    f"nftables: a change of {len(data)} bytes is more than this container may send "
                    f"at once; set net.core.wmem_max to {len(data)} on its host"
                ) from None
            raise failure(error.errno or 0) from None

    def _receive(self) -> Iterator[Answer]:
        while True:
            try:
                data = self._socket.recv(_RECEIVE)
            except TimeoutError:
                raise FirewallError(f"nftables: no answer in {_TIMEOUT:.0f} seconds") from None
            except OSError as error:
                raise failure(error.errno or 0) from None
            offset = 0
            while offset < len(data):
                length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
                yield Answer(kind, flags, sequence, data[offset + _HEADER.size : offset + length])
                offset += length + -length % 4


def packet(
    kind: int, flags: int, sequence: int, body: bytes, family: int, resource: int = 0
) -> bytes:
    """Encode a message with its headers."""
    length = _HEADER.size + _NFGEN.size + len(body)
    return (
        _HEADER.pack(length, kind, flags | _REQUEST, sequence, 0)
        + _NFGEN.pack(family, 0, resource)
        + body
    )


def failure(code: int, what: str = "") -> FirewallError | PrivilegeError:
    """Make the exception for an error number; `what` is refused."""
    if code == errno.EPERM:
        return PrivilegeError("nftables: needs CAP_NET_ADMIN; run it as root")
    if code in {errno.ERESTART, errno.EINTR}:
        return StaleError("nftables: somebody else changed the rules at the same time")
    return FirewallError(f"nftables: the kernel refuses {what or 'it'}: {os.strerror(code)}")
