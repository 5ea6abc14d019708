"""The data plane, in Rust. Use it through `wgbind`; this file is its documented contract.

No call holds the GIL while it waits or works on the device, and no packet
reaches Python. Errors are those of `wgbind.errors`.
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType
from typing import ClassVar, Literal, final

__all__ = [
    "Device",
    "DeviceStatus",
    "Event",
    "ForeignChanges",
    "Hub",
    "PeerChange",
    "PeerStatus",
    "PresharedKey",
    "PrivateKey",
    "PublicKey",
    "__version__",
    "log_to_stderr",
]

__version__: str

@final
class PrivateKey:
    """A Curve25519 private key (RFC 7748), wiped from memory when the object goes."""

    def __new__(cls, text: str) -> PrivateKey:
        """Parse base64 (44 characters) or hexadecimal (64 digits); raise `KeyFormatError`."""

    @staticmethod
    def generate() -> PrivateKey:
        """Make a new key from the system's randomness."""

    def public_key(self) -> PublicKey:
        """Compute the public key that belongs to it."""

    def reveal(self) -> str:
        """Return the key as base64. The only way to see it: `repr` and `str` show nothing."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class PublicKey:
    """A Curve25519 public key: who a peer is. `str` gives base64."""

    def __new__(cls, text: str) -> PublicKey:
        """Parse base64 (44 characters) or hexadecimal (64 digits); raise `KeyFormatError`."""

    @property
    def low_order(self) -> bool:
        """Whether it is a point of low order, which can authenticate nobody (RFC 7748, 6.1)."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class PresharedKey:
    """A symmetric key that both ends mix into the handshake (the paper, section 5.2)."""

    def __new__(cls, text: str) -> PresharedKey:
        """Parse base64 (44 characters) or hexadecimal (64 digits); raise `KeyFormatError`."""

    @staticmethod
    def generate() -> PresharedKey:
        """Make a new key from the system's randomness."""

    def reveal(self) -> str:
        """Return the key as base64. The only way to see it: `repr` and `str` show nothing."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class PeerChange:
    """A change of one peer; what is left out stays as it is, and so does the peer's session."""

    def __new__(
        cls,
        public_key: PublicKey,
        *,
        remove: bool = False,
        update_only: bool = False,
        preshared_key: PresharedKey | None = None,
        clear_preshared_key: bool = False,
        endpoint: tuple[str, int] | None = None,
        persistent_keepalive: int | None = None,
        replace_allowed_ips: bool = False,
        allowed_ips: Sequence[str] = (),
    ) -> PeerChange:
        """Describe a change.

        `endpoint` is an IP address (no name) and a port. `persistent_keepalive` is in seconds,
        0 to 65535, 0 for off. `allowed_ips` are prefixes such as "10.0.0.2/32"; an address that
        another peer has moves to this one. Raises `InputError` for what cannot be parsed.
        """

    @property
    def public_key(self) -> PublicKey: ...

@final
class Hub:
    """Which peers reach each other inside the device, without the kernel and its rules."""

    def __new__(
        cls,
        classes: Mapping[IPv4Address | IPv6Address, int],
        links: Sequence[tuple[int, int]],
    ) -> Hub:
        """Put addresses of peers in classes 0 to 255 and link classes, in both directions.

        Members of a class are linked with each other only if it is linked with itself. Raises
        `InputError` for another number.
        """

@final
class PeerStatus:
    """What the device knows of one peer at one moment."""

    @property
    def public_key(self) -> PublicKey: ...
    @property
    def has_preshared_key(self) -> bool: ...
    @property
    def preshared_key(self) -> PresharedKey | None: ...
    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Where its last authenticated message came from, or what was configured."""

    @property
    def allowed_ips(self) -> list[str]: ...
    @property
    def last_handshake(self) -> float | None:
        """Unix time in seconds of the last completed handshake."""

    @property
    def initiating_since(self) -> float | None:
        """Unix time in seconds of the first of our initiations that the peer has not answered."""

    @property
    def rx_bytes(self) -> int:
        """Bytes of UDP payload received from it and authenticated."""

    @property
    def tx_bytes(self) -> int:
        """Bytes of UDP payload sent to it."""

    @property
    def persistent_keepalive(self) -> int:
        """Seconds; 0 is off."""

@final
class DeviceStatus:
    """What a device is and has done, at one moment."""

    @property
    def name(self) -> str:
        """The interface's name now: it may have been renamed."""

    @property
    def public_key(self) -> PublicKey | None: ...
    @property
    def listen_port(self) -> int: ...
    @property
    def fwmark(self) -> int:
        """The mark on outgoing UDP packets; 0 is off."""

    @property
    def mtu(self) -> int: ...
    @property
    def features(self) -> dict[str, Literal["on", "off", "refused"]]:
        """What it uses of the kernel: "off" if made without it, "refused" if the kernel did."""

    @property
    def peers(self) -> list[PeerStatus]: ...
    @property
    def drops(self) -> dict[str, int]:
        """Packets and datagrams dropped, by reason."""

    @property
    def handshakes(self) -> dict[str, int]:
        """What came of handshakes since the start.

        "initiated", "answered" and "cookies" count the messages that were sent, "completed" those
        that led to a session; "queued" is how many initiations wait now.
        """

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the workers, the threads that move packets."""

@final
class Event:
    """Something that happened to one peer.

    Between each "connected" of a peer and the next "silent", which always follows, are all its
    "rekeyed" and "roamed".
    """

    @property
    def at(self) -> float:
        """Unix time in seconds."""

    @property
    def public_key(self) -> PublicKey: ...
    @property
    def kind(
        self,
    ) -> Literal["added", "changed", "removed", "connected", "rekeyed", "roamed", "silent"]:
        """What happened.

        "added", "changed", "removed": its configuration, by whomever. "connected": a handshake was
        completed, the first since the peer was added or silent; "rekeyed": another one. "roamed":
        its authenticated messages come from another endpoint; told of no more than once a second.
        "silent": no authenticated message came for 180 seconds (Reject-After-Time; the paper,
        section 6.2), or a change of keys ended its sessions.
        """

    @property
    def cause(
        self,
    ) -> Literal[
        "configuration", "control_socket", "peer_handshake", "own_handshake", "message", "timeout"
    ]:
        """Why: "control_socket" is a configuration that came by the control socket, from `wg`."""

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Where the peer is, or was last."""

    @property
    def previous_endpoint(self) -> tuple[str, int] | None:
        """Where it was before it roamed."""

    @property
    def lost(self) -> int:
        """How many events right before this one were lost: nobody took them in time."""

@final
class ForeignChanges:
    """What clients of the control socket, such as `wg`, changed; of several changes, the last."""

    @property
    def private_key(self) -> PrivateKey | None:
        """Another private key; None if it was removed or nobody said."""

    @property
    def listen_port(self) -> int | None:
        """Another UDP port; 0 if any would do, None if nobody said."""

    @property
    def fwmark(self) -> int | None:
        """Another firewall mark; None if nobody said."""

    @property
    def peers(self) -> list[tuple[PublicKey, bool]]:
        """Peers added, changed or removed, and whether they were given another endpoint."""

@final
class Device:
    """A TUN interface, its UDP sockets and its worker threads, without addresses and routes."""

    def __new__(
        cls,
        name: str,
        *,
        mtu: int = 1420,
        control_socket: bool = True,
        workers: int | None = None,
        without: Sequence[str] = (),
        tun_fd: int | None = None,
        control_fd: int | None = None,
    ) -> Device:
        """Create the interface `name` and start its workers.

        `control_socket` opens /var/run/wireguard/NAME.sock, where `wg` looks. `workers` is the
        number of threads that move packets, 1 to 16; by default one on a machine with one or two
        cores, else one for each core. `without` names features of the kernel that are to be left
        alone: "udp_ipv6", "udp_gso", "udp_gro", "tun_vnet_hdr", "tun_tso", "tun_uso", "tun_gro"
        (see `DeviceSettings`); what the kernel refuses is left alone in any case.

        `tun_fd` and `control_fd` are descriptors that another program has opened: a queue of a TUN
        interface, which keeps its name and is worked by one thread, and a bound Unix socket, which
        is listened on. They are duplicated, and stay the caller's to close.

        Raises `InputError` for a bad name, number or descriptor, `PrivilegeError` without
        CAP_NET_ADMIN, `ConflictError` if the interface or the control socket is in use,
        `DeviceError` for the rest (no /dev/net/tun).
        """

    @property
    def name(self) -> str:
        """The name that the interface was made with."""

    def set(
        self,
        *,
        private_key: PrivateKey | None = None,
        listen_port: int | None = None,
        fwmark: int | None = None,
        hub: Hub | None = None,
        replace_peers: bool = False,
        peers: Sequence[PeerChange] = (),
    ) -> None:
        """Apply a change, all of it or nothing; return when all workers work by it.

        `listen_port` 0 lets the system choose. `replace_peers` removes the peers that `peers` does
        not name. `hub` says which peers reach each other inside the device, instead of what was
        said before; none at first. Raises `InputError`, `ConflictError` for a port in use,
        `DeviceError`.
        """

    @property
    def changes(self) -> int:
        """How many changes were applied since the start, here or at the control socket."""

    def status(self, peers: Sequence[PublicKey] | None = None) -> DeviceStatus:
        """Read the state of the device and of its peers: all, or those of these that it has."""

    def events(self, timeout: float | None = None) -> list[Event]:
        """Take what happened to peers since the last call, oldest first.

        If that is nothing, wait until something happens, at most `timeout` seconds. Nothing is kept
        before the first call, and at most 16,384 events from then on; of more, the oldest are lost.
        Of several callers each event reaches one. Raises `DeviceError` when the device has ended
        and all is taken. Ctrl-C interrupts.
        """

    def take_foreign(self) -> ForeignChanges | None:
        """Take what clients of the control socket changed since the last call; None for nothing.

        Nothing is kept before the first call. What a client was told is done is in it.
        """

    def wait(self, timeout: float | None = None) -> str | None:
        """Wait until the device ends by itself, at most `timeout` seconds.

        Return None if time ran out, else why it ended: "interface removed", "control socket
        removed" or "closed". Raise `DeviceError` if one of its threads failed. Ctrl-C interrupts.
        """

    def close(self) -> None:
        """Stop the workers and remove interface and control socket. A second call does nothing."""

    def __enter__(self) -> Device: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

def log_to_stderr(level: str) -> None:
    """Send the data plane's log lines to standard error.

    `level` is "error", "warn", "info", "debug" or "trace". Only the first call counts. Raises
    `InputError` for another word.
    """
