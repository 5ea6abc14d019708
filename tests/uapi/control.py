"""A client of a device's control socket, which understands every line of an answer or fails."""

import base64
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType

from typing_extensions import Self

from harness.names import CONTROL_SOCKETS
from wgbind.keys import PrivateKey

ZERO = "0" * 64
"""A key that stands for none."""

PATIENCE = 90.0
"""Seconds until an answer must have come."""

KEY = re.compile(r"[0-9a-f]{64}")


@dataclass
class Peer:
    """A peer as `get` tells it."""

    preshared_key: str = ZERO
    endpoint: str | None = None
    persistent_keepalive: int = 0
    allowed_ips: list[str] = field(default_factory=list)
    protocol_version: int | None = None
    handshake: tuple[int, int] | None = None
    tx_bytes: int = 0
    rx_bytes: int = 0


@dataclass
class Answer:
    """What `get` tells."""

    errno: str = ""
    private_key: str | None = None
    listen_port: int | None = None
    fwmark: int = 0
    peers: dict[str, Peer] = field(default_factory=dict)


class Control:
    """A connection to the control socket of `interface`."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(CONTROL_SOCKETS / f"{interface}.sock"))
        self._reader = self._socket.makefile("r", encoding="ascii")

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
        """Hang up."""
        self._reader.close()
        self._socket.close()

    def send(self, text: str) -> None:
        """Send any text."""
        self._socket.sendall(text.encode())

    def end(self) -> None:
        """Say that nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def lines(self) -> list[str]:
        """Read an answer up to its empty line; without that line if the other end hung up."""
        found: list[str] = []
        try:
            for line in self._reader:
                if line == "\n":
                    return [*found, ""]
                found.append(line.removesuffix("\n"))
        except ConnectionResetError:
            pass  # it hung up without having read all
        return found

    def set(self, *lines: str) -> int:
        """Change the device; return the error's number, which is negative or 0."""
        self.send("".join(f"{line}\n" for line in ("set=1", *lines, "")))
        return self.errno()

    def errno(self) -> int:
        """Read the answer of a `set`."""
        answer, end = self.lines()
        assert end == ""
        key, _, number = answer.partition("=")
        assert key == "errno"
        return int(number)

    def get(self) -> Answer:
        """Read the device."""
        self.send("get=1\n\n")
        return parse(self.lines())


def parse(lines: Iterable[str]) -> Answer:
    """Parse an answer to `get`. What is unknown, repeated or at the wrong place fails."""
    *lines, last, end = lines
    assert end == ""
    assert last.startswith("errno=")
    answer = Answer(errno=last.removeprefix("errno="))
    peer: Peer | None = None
    seen: set[str] = set()
    for line in lines:
        key, equals, value = line.partition("=")
        assert equals
        if key == "public_key":
            assert KEY.fullmatch(value)
            assert value not in answer.peers
            peer = answer.peers[value] = Peer()
            seen = set()
            continue
        assert key not in seen or key == "allowed_ip", f"{key} twice"
        seen.add(key)
        if peer is None:
            _device_line(answer, key, value)
        else:
            _peer_line(peer, key, value)
    return answer


def _device_line(answer: Answer, key: str, value: str) -> None:
    match key:
        case "private_key":
            assert KEY.fullmatch(value)
            answer.private_key = value
        case "listen_port":
            answer.listen_port = _number(value)
        case "fwmark":
            answer.fwmark = _number(value)
        case _:
            raise AssertionError(f"no key of a device: {key}")


def _peer_line(peer: Peer, key: str, value: str) -> None:
    match key:
        case "preshared_key":
            assert KEY.fullmatch(value)
            peer.preshared_key = value
        case "protocol_version":
            peer.protocol_version = _number(value)
        case "endpoint":
            peer.endpoint = value
        case "last_handshake_time_sec":
            peer.handshake = (_number(value), 0)
        case "last_handshake_time_nsec":
            assert peer.handshake is not None
            peer.handshake = (peer.handshake[0], _number(value))
        case "tx_bytes":
            peer.tx_bytes = _number(value)
        case "rx_bytes":
            peer.rx_bytes = _number(value)
        case "persistent_keepalive_interval":
            peer.persistent_keepalive = _number(value)
        case "allowed_ip":
            peer.allowed_ips.append(value)
        case _:
            raise AssertionError(f"no key of a peer: {key}")


def _number(value: str) -> int:
    # `wg` takes digits alone.
    assert value.isascii()
    assert value.isdigit()
    return int(value)


def new_keys() -> tuple[str, str]:
    """Make a private key, clamped, and its public key, as the protocol writes them."""
    key = PrivateKey.generate()
    return to_hex(key.reveal()), to_hex(str(key.public_key()))


def to_hex(key: str) -> str:
    """Turn a key in base64 into hexadecimal digits."""
    return base64.b64decode(key).hex()
