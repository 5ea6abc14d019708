"""What a file of wg-quick(8) says, in types; nothing of it is done."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_interface
from typing import TYPE_CHECKING, TypeVar

from wgbind.errors import InputError
from wgbind.keys import PresharedKey, PrivateKey, PublicKey
from wgbind.settings.address import parse_peer_endpoint
from wgbind.wg_quick.sections import settle
from wgbind.wg_quick.text import NO_BLANKS, Block, Entry, parse_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from wgbind.settings.address import InterfaceAddress, Network

    T = TypeVar("T")

HOOKS = ("PreUp", "PostUp", "PreDown", "PostDown")
"""The keys whose values are commands."""

# Keys in their usual form by what wg(8) and wg-quick(8) compare: they look at no case.
_INTERFACE = {
    key.lower(): key
    for key in (
        *("PrivateKey", "ListenPort", "FwMark"),
        *("Address", "DNS", "MTU", "Table", "SaveConfig", *HOOKS),
    )
}
_PEER = {
    key.lower(): key
    for key in ("PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive")
}
_LISTS = {"Address", "DNS", "AllowedIPs", *HOOKS}

# These wg-quick(8) reads itself, and takes without a value. All others are for wg(8), which takes
# out every blank of a line, and no key without a value.
_WG_QUICK = {"Address", "DNS", "MTU", "Table", "SaveConfig", *HOOKS}


@dataclass(frozen=True)
class InterfaceEntry:
    """What the section [Interface] says; None is what it does not say.

    Attributes:
        addresses: With the line of each.
        dns: Name servers and domains to search.
        hooks: The commands of each of `HOOKS`, with their lines.
        comments: With their "#".
        layout: All lines of the section.
    """

    private_key: PrivateKey | None = field(default=None, repr=False)
    listen_port: int | None = None
    fwmark: int = 0
    addresses: tuple[tuple[int, InterfaceAddress], ...] = ()
    dns: tuple[str, ...] = ()
    mtu: int | None = None
    table: str | None = None
    save_config: bool | None = None
    hooks: dict[str, tuple[tuple[int, str], ...]] = field(default_factory=dict, repr=False)
    comments: tuple[str, ...] = field(default=(), repr=False)  # a key may be commented out
    lines: dict[str, int] = field(default_factory=dict)
    layout: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class PeerEntry:
    """What a section [Peer] says.

    Attributes:
        line: Of its header.
        enabled: False if all its lines are marked as switched off.
        comments: With their "#".
        given: The keys that stand there.
        layout: All lines of the section.
    """

    line: int
    public_key: PublicKey
    preshared_key: PresharedKey | None = field(default=None, repr=False)
    allowed_ips: tuple[Network, ...] = ()
    endpoint: tuple[str, int] | None = None
    persistent_keepalive: int = 0
    enabled: bool = True
    comments: tuple[str, ...] = field(default=(), repr=False)  # a key may be commented out
    given: frozenset[str] = frozenset()
    layout: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class WgQuickFile:
    """A file of wg-quick(8), or what `wg showconf` prints.

    Attributes:
        remarks: What stands there more than once, and what of it counts: "FILE:LINE: ...".
    """

    name: str
    interface: InterfaceEntry
    peers: tuple[PeerEntry, ...]
    remarks: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, name: str = "standard input") -> WgQuickFile:
        """Read a text; `name` is the file's.

        Raises `InputError` ("FILE:LINE: key KEY: VALUE: what is wrong; remedy") for the first
        mistake. The value of a key that is secret is not shown.
        """
        blocks = parse_blocks(text, name)
        interface = [block for block in blocks if block.kind == "interface"]
        remarks: list[str] = []
        found = _interface(interface, name, remarks)
        sections = [
            _peer(_Section(block.entries, _PEER, block, name, remarks))
            for block in blocks
            if block.kind == "peer"
        ]
        own = None if found.private_key is None else found.private_key.public_key()
        peers, more = settle(sections, own, name)
        return cls(name, found, peers, (*remarks, *more))


class _Section:
    """The values of one section by key, and how a mistake in one is said."""

    def __init__(
        self,
        entries: Iterable[Entry],
        known: dict[str, str],
        block: Block,
        name: str,
        remarks: list[str],
    ) -> None:
        self.block = block
        self.name = name
        self.found: dict[str, list[Entry]] = {}
        for entry in entries:
            key = known.get(entry.key.translate(NO_BLANKS).lower())
            if key is None or (key in _WG_QUICK and entry.key.lower() != key.lower()):
                raise InputError(f"{self.at(entry.line)}{_unknown(entry.key, known)}")
            if key not in _WG_QUICK and not entry.value:
                raise InputError(
                    f"{self.at(entry.line)}key {key}: it has no value, which wg refuses; give one, "
                    "or remove the line"
                )
            same = self.found.setdefault(key, [])
            if same and key not in _LISTS:
                remarks.append(
                    f"{self.at(entry.line)}{key}: it stands in line {same[-1].line}, too; the last "
                    "one counts"
                )
            same.append(entry)

    def at(self, line: int) -> str:
        return f"{self.name}:{line}: "

    def one(self, key: str, parse: Callable[[str], T], default: T, *, secret: bool = False) -> T:
        """Read a value: the last, where the key stands there more than once."""
        value = default
        for entry in self.found.get(key, ()):
            text = entry.value if key in _WG_QUICK else entry.value.translate(NO_BLANKS)
            value = self._parsed(entry, key, text, parse, secret=secret)
        return value

    def many(self, key: str, parse: Callable[[str], T]) -> tuple[tuple[int, T], ...]:
        """Read a list: with commas, over several lines, or both."""
        return tuple(
            (entry.line, self._parsed(entry, key, item, parse))
            for entry in self.found.get(key, ())
            for item in (
                entry.value.replace(",", " ").split()
                if key in _WG_QUICK
                else entry.value.translate(NO_BLANKS).split(",")
            )
        )

    def _parsed(
        self,
        entry: Entry,
        key: str,
        value: str,
        parse: Callable[[str], T],
        *,
        secret: bool = False,
    ) -> T:
        try:
            return parse(value)
        except InputError as error:
            said = "" if secret or repr(value) in str(error) else f"{value!r}: "
            raise InputError(f"{self.at(entry.line)}key {key}: {said}{error}") from None


def _interface(blocks: Sequence[Block], name: str, remarks: list[str]) -> InterfaceEntry:
    if not blocks:
        return InterfaceEntry()
    entries = [entry for block in blocks for entry in block.entries]
    section = _Section(entries, _INTERFACE, blocks[0], name, remarks)
    return InterfaceEntry(
        private_key=section.one("PrivateKey", _private_key, None, secret=True),
        listen_port=section.one("ListenPort", _number(0, 65535), None),
        fwmark=section.one("FwMark", _fwmark, 0),
        addresses=section.many("Address", _address),
        dns=tuple(item for _, item in section.many("DNS", str)),
        mtu=section.one("MTU", _or_none(_number(1, 65535)), None),
        table=section.one("Table", _or_none(_table), None),
        save_config=section.one("SaveConfig", _truth, None),
        hooks={
            # wg-easy writes keys without a value.
            key: tuple(
                (entry.line, entry.value) for entry in section.found.get(key, ()) if entry.value
            )
            for key in HOOKS
        },
        comments=tuple(comment for block in blocks for comment in block.comments),
        lines={key: found[-1].line for key, found in section.found.items()},
        layout=tuple(line for block in blocks for line in block.lines),
    )


def _peer(section: _Section) -> PeerEntry:
    block = section.block
    # Not shown either: a private key may have got there.
    public_key = section.one("PublicKey", PublicKey, None, secret=True)
    if public_key is None:
        raise InputError(
            f"{section.at(block.line)}key PublicKey: it is missing in this [Peer]; add it"
        )
    networks = dict.fromkeys(network for _, network in section.many("AllowedIPs", _allowed_ip))
    return PeerEntry(
        line=block.line,
        public_key=public_key,
        preshared_key=section.one("PresharedKey", _preshared_key, None, secret=True),
        allowed_ips=tuple(networks),
        endpoint=section.one("Endpoint", parse_peer_endpoint, None),
        persistent_keepalive=section.one("PersistentKeepalive", _keepalive, 0),
        enabled=block.enabled,
        comments=tuple(block.comments),
        given=frozenset(section.found),
        layout=tuple(block.lines),
    )


def _unknown(key: str, known: dict[str, str]) -> str:
    elsewhere = (_PEER if known is _INTERFACE else _INTERFACE).get(key.lower())
    if elsewhere is not None:
        section = "[Peer]" if known is _INTERFACE else "[Interface]"
        return f"key {elsewhere}: it belongs into a section {section}; move it there"
    near = get_close_matches(key.lower(), known, n=1)
    hint = f"did you mean {known[near[0]]}?" if near else f"there are {', '.join(known.values())}"
    shown = key if key.isprintable() and len(key) <= 40 else "this one"
    return f"key {shown}: there is no such key; {hint}"


def _private_key(text: str) -> PrivateKey | None:
    return PrivateKey(text)


def _preshared_key(text: str) -> PresharedKey | None:
    key = PresharedKey(text)
    # As wg(8) has it: a key of zeros is none.
    return None if key == PresharedKey("0" * 64) else key


def _or_none(parse: Callable[[str], T | None]) -> Callable[[str], T | None]:
    return lambda text: parse(text) if text else None


def _number(first: int, last: int) -> Callable[[str], int | None]:
    def parse(text: str) -> int | None:
        if re.fullmatch("[0-9]{1,10}", text) is None or not first <= int(text) <= last:
            raise InputError(f"{text!r} is not a number from {first} to {last}; give one")
        return int(text)

    return parse


def _keepalive(text: str) -> int:
    return 0 if text.lower() == "off" else _number(0, 65535)(text) or 0


def _fwmark(text: str) -> int:
    if text.lower() == "off":
        return 0
    if re.fullmatch("0[xX][0-9a-fA-F]{1,8}", text):
        return int(text, 16)
    return _number(0, 0xFFFFFFFF)(text) or 0


def _address(text: str) -> InterfaceAddress:
    try:
        return ip_interface(text)
    except ValueError:
        raise InputError(
            f"{text!r} is not an address with a prefix length, such as 10.8.0.1/24"
        ) from None


def _allowed_ip(text: str) -> Network:
    if text.startswith(("+", "-")):
        raise InputError(f"{text!r} changes what there is, which a file does not; write it without")
    try:
        # Python takes masks in place of lengths, and zones, wg(8) does not.
        if re.fullmatch("[^/%]+(/[0-9]{1,3})?", text):
            return ip_interface(text).network
    except ValueError:
        pass
    raise InputError(f"{text!r} is not a network, such as 10.8.0.2/32")


def _table(text: str) -> str | None:
    if re.fullmatch("[a-zA-Z0-9_.-]{1,64}", text) is None:
        raise InputError(f"{text!r} is neither off nor auto nor a routing table; give one")
    return text.lower() if text.lower() in {"off", "auto"} else text


def _truth(text: str) -> bool | None:
    if text.lower() not in {"true", "false"}:
        raise InputError(f"{text!r} is neither true nor false; write one of them")
    return text.lower() == "true"
