"""What nftables rules consist of, from typed values: matches, statements, verdicts.

Each is encoded as the kernel takes it; several joined are a rule. The kernel runs them in order and
leaves the rule at the first match that fails.
"""

from __future__ import annotations

import struct
from enum import IntFlag
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from wgbind.firewall.nfnetlink import attribute, attributes, nested, number, text

if TYPE_CHECKING:
    from wgbind.settings.address import Address, Network

Expression: TypeAlias = bytes
"""Encoded expressions, which a join of bytes joins."""

Side: TypeAlias = Literal["source", "destination"]
"""The end of a packet's way that a match looks at."""

Version: TypeAlias = Literal[4, 6]

TCP, UDP = 6, 17
ICMP: dict[Version, int] = {4: 1, 6: 58}
ECHO_REQUEST: dict[Version, int] = {4: 8, 6: 128}
REDIRECT: dict[Version, int] = {4: 5, 6: 137}

_NFPROTO: dict[Version, int] = {4: 2, 6: 10}  # linux/netfilter.h
_ADDRESS: dict[tuple[Version, Side], tuple[int, int]] = {  # offset and length in the IP header
    (4, "source"): (12, 4),
    (4, "destination"): (16, 4),
    (6, "source"): (8, 16),
    (6, "destination"): (24, 16),
}

# Names of linux/netfilter/nf_tables.h, without NFT.
_REG_VERDICT, _REG_1, _REG_2 = 0, 1, 2
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_EQUAL, _UNEQUAL, _LESS_EQUAL, _GREATER_EQUAL = 0, 1, 3, 5
_META_MARK, _META_IIFNAME, _META_OIFNAME, _META_NFPROTO, _META_L4PROTO = 3, 6, 7, 15, 16
_CT_STATE, _CT_STATUS, _CT_MARK, _CT_PROTO_DST = 0, 2, 3, 12
_CT_ORIGINAL = 0
_IPS_CONFIRMED, _IPS_DST_NAT = 1 << 3, 1 << 5  # linux/netfilter/nf_conntrack_common.h
_SYN = 0x02
_INTERFACE_NAME = 16


def version_of(of: Address | Network) -> Version:
    """Return an address's IP version."""
    return 4 if of.version == 4 else 6


class State(IntFlag):
    """States of connection tracking, as `ct state` numbers them."""

    INVALID = 1
    ESTABLISHED = 2
    RELATED = 4
    NEW = 8


def _expression(name: str, *parts: bytes) -> Expression:
    return nested(1, text(1, name), nested(2, *parts))


def _value(kind: int, value: bytes) -> bytes:
    return nested(kind, attribute(1, value))


def _compare(value: bytes, operator: int = _EQUAL) -> Expression:
    return _expression("cmp", number(1, _REG_1), number(2, operator), _value(3, value))


def _mask(mask: bytes) -> Expression:
    return _expression(
        "bitwise",
        number(1, _REG_1),
        number(2, _REG_1),
        number(3, len(mask)),
        _value(4, mask),
        _value(5, bytes(len(mask))),
        number(6, 0),
    )


def _meta(key: int) -> Expression:
    return _expression("meta", number(1, _REG_1), number(2, key))


def _payload(base: int, offset: int, length: int) -> Expression:
    return _expression(
        "payload", number(1, _REG_1), number(2, base), number(3, offset), number(4, length)
    )


def _lookup(name: str, *, inverted: bool = False) -> Expression:
    return _expression("lookup", text(1, name), number(2, _REG_1), number(5, inverted))


def _range(first: bytes, last: bytes) -> Expression:
    if first == last:
        return _compare(first)
    return _compare(first, _GREATER_EQUAL) + _compare(last, _LESS_EQUAL)


@lru_cache
def family(version: Version) -> Expression:
    """Match IPv4 or IPv6; matches of their headers need it before them."""
    return _meta(_META_NFPROTO) + _compare(bytes([_NFPROTO[version]]))


@lru_cache
def interface(side: Side, name: str, *, equal: bool = True) -> Expression:
    """Match the interface that a packet came in by, or goes out by."""
    key = _META_IIFNAME if side == "source" else _META_OIFNAME
    padded = name.encode().ljust(_INTERFACE_NAME, b"\0")
    return _meta(key) + _compare(padded, _EQUAL if equal else _UNEQUAL)


@lru_cache
def interface_in(side: Side, set_name: str) -> Expression:
    """Match an interface of a set."""
    return _meta(_META_IIFNAME if side == "source" else _META_OIFNAME) + _lookup(set_name)


@lru_cache
def address(side: Side, prefix: Network) -> Expression:
    """Match the addresses of a prefix."""
    load = _payload(_NETWORK_HEADER, *_ADDRESS[version_of(prefix), side])
    compare = _compare(prefix.network_address.packed)
    if prefix.prefixlen == prefix.max_prefixlen:
        return load + compare
    return load + _mask(prefix.netmask.packed) + compare


@lru_cache(maxsize=4096)
def address_in(
    side: Side, version: Version, set_name: str, *, inverted: bool = False
) -> Expression:
    """Match the addresses of a set, or all others."""
    load = _payload(_NETWORK_HEADER, *_ADDRESS[version, side])
    return load + _lookup(set_name, inverted=inverted)


@lru_cache
def protocol(value: int) -> Expression:
    """Match the protocol that IP carries."""
    return _meta(_META_L4PROTO) + _compare(bytes([value]))


@lru_cache
def destination_port(first: int, last: int) -> Expression:
    """Match a range of ports; a match of TCP or UDP stands before it."""
    return _payload(_TRANSPORT_HEADER, 2, 2) + _range(_port(first), _port(last))


def destination_port_in(set_name: str) -> Expression:
    """Match the ports of a set; a match of TCP or UDP stands before it."""
    return _payload(_TRANSPORT_HEADER, 2, 2) + _lookup(set_name)


def original_port(first: int, last: int) -> Expression:
    """Match the destination port that a connection had before NAT."""
    load = _expression(
        "ct", number(1, _REG_1), number(2, _CT_PROTO_DST), attribute(3, bytes([_CT_ORIGINAL]))
    )
    return load + _range(_port(first), _port(last))


def icmp_type(value: int) -> Expression:
    """Match the type of an ICMP or ICMPv6 message; its protocol's match stands before it."""
    return _payload(_TRANSPORT_HEADER, 0, 1) + _compare(bytes([value]))


def _ct_flags(key: int, flags: int, operator: int) -> Expression:
    load = _expression("ct", number(1, _REG_1), number(2, key))
    mask = struct.pack("=I", flags)
    return load + _mask(mask) + _compare(bytes(4), operator)


def ct_state(states: State) -> Expression:
    """Match packets whose connection is in one of the states."""
    return _ct_flags(_CT_STATE, states, _UNEQUAL)


def ct_state_not(states: State) -> Expression:
    """Match packets whose connection is in none of the states."""
    return _ct_flags(_CT_STATE, states, _EQUAL)


FIRST = ct_state(State.NEW) + _ct_flags(_CT_STATUS, _IPS_CONFIRMED, _EQUAL)
"""Match the packet that begins a connection; those behind it are new until there is an answer."""

DNATED = _ct_flags(_CT_STATUS, _IPS_DST_NAT, _UNEQUAL)
"""Match connections whose destination was translated."""

MARK_LIKE_CONNECTION = (
    _ct_flags(_CT_MARK, 0xFFFFFFFF, _UNEQUAL)
    + _expression("ct", number(1, _REG_1), number(2, _CT_MARK))
    + _expression("meta", number(2, _META_MARK), number(3, _REG_1))
)
"""Give the packet the mark of its connection, if that has one."""

TO_LOCAL_ADDRESS = _expression("fib", number(1, _REG_1), number(2, 3), number(3, 2)) + _compare(
    struct.pack("=I", 2)
)
"""Match what is sent to an address of this host, on whichever interface that is."""


def _verdict(code: int, chain: str | None = None) -> Expression:
    target = () if chain is None else (text(2, chain),)
    return _expression(
        "immediate", number(1, _REG_VERDICT), nested(2, nested(2, number(1, code), *target))
    )


DROP = _verdict(0)
ACCEPT = _verdict(1)


@lru_cache(maxsize=4096)
def jump(chain: str) -> Expression:
    """Go through a chain and come back, unless it decides."""
    return _verdict(-3, chain)


@lru_cache(maxsize=4096)
def goto(chain: str) -> Expression:
    """Go on in a chain."""
    return _verdict(-4, chain)


@lru_cache(maxsize=4096)
def counter(name: str) -> Expression:
    """Count the packet."""
    return _expression("objref", number(1, 1), text(2, name))


def _limit(rate: int, *, over: bool) -> Expression:
    """Match at most `rate` packets a second, or only what is more."""
    seconds = struct.pack("!Q", 1)
    return _expression(
        "limit",
        attribute(1, struct.pack("!Q", rate)),
        attribute(2, seconds),
        number(3, rate),
        number(4, 0),
        number(5, over),
    )


def log(prefix: str, rate: int) -> Expression:
    """Log at most `rate` packets a second; the rule ends there for the others."""
    level_info = 6
    return _limit(rate, over=False) + _expression("log", text(2, prefix), number(5, level_info))


def over_limit(version: Version, set_name: str, rate: int) -> Expression:
    """Match what is more than `rate` packets a second of one source address.

    The set remembers the addresses.
    """
    _, limit = next(attributes(_limit(rate, over=True)))  # an attribute here, not one of a list
    return _payload(_NETWORK_HEADER, *_ADDRESS[version, "source"]) + _expression(
        "dynset",
        text(1, set_name),
        number(3, 1),
        number(4, _REG_1),
        nested(7, limit),
    )


CLAMP_MSS: Expression = (
    protocol(TCP)
    + _payload(_TRANSPORT_HEADER, 13, 1)
    + _mask(bytes([_SYN]))
    + _compare(bytes(1), _UNEQUAL)
    + _expression("rt", number(1, _REG_1), number(2, 3))
    + _expression(
        "byteorder", number(1, _REG_1), number(2, _REG_1), number(3, 1), number(4, 2), number(5, 2)
    )
    + _expression(
        "exthdr",
        attribute(2, b"\x02"),
        number(3, 2),
        number(4, 2),
        number(6, 1),
        number(7, _REG_1),
    )
)
"""Let TCP choose segments that fit the way in both directions; the kernel never makes them larger.

What it writes is the smaller MTU of the routes to both ends, less the headers
(net/netfilter/nft_rt.c).
"""

MASQUERADE: Expression = _expression("masq")


@lru_cache
def mark_connection(mark: int) -> Expression:
    """Give the packet's connection a mark."""
    value = _load(_REG_1, struct.pack("=I", mark))
    return value + _expression("ct", number(2, _CT_MARK), number(4, _REG_1))


def translate_destination(to: Address, port: int | None) -> Expression:
    """Send it to another address and, if it is given, port."""
    load = _load(_REG_1, to.packed)
    parts = [number(1, 1), number(2, _NFPROTO[version_of(to)]), number(3, _REG_1)]
    if port is not None:
        load += _load(_REG_2, _port(port))
        parts.append(number(5, _REG_2))
    return load + _expression("nat", *parts)


def _load(register: int, value: bytes) -> Expression:
    return _expression("immediate", number(1, register), _value(2, value))


def _port(value: int) -> bytes:
    return struct.pack("!H", value)
