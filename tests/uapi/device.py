"""A device under test: wgbind-device, or wireguard-go for calibration."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harness import interface_name, program, start_device
from harness.names import CONTROL_SOCKETS
from net.host import Host
from uapi.control import ZERO, Answer, Control

IMPLEMENTATIONS = ("wgbind-device", "wireguard-go")

DOCUMENT = Path(__file__).parents[2] / "docs" / "control-socket.md"

T = TypeVar("T")


@dataclass(frozen=True)
class Device:
    """A running program with wireguard-go's contract.

    Attributes:
        host: Where it runs.
        implementation: Which program it is.
        interface: Its interface.
        pid: Its process.
    """

    host: Host
    implementation: str
    interface: str
    pid: int

    @property
    def is_ours(self) -> bool:
        """Whether it is wgbind-device."""
        return self.implementation == "wgbind-device"

    @property
    def socket(self) -> Path:
        """Its control socket."""
        return CONTROL_SOCKETS / f"{self.interface}.sock"

    def cpu_seconds(self) -> float:
        """Return how long it has computed."""
        stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def control(self) -> Control:
        """Connect to its control socket."""
        return Control(self.interface)

    def get(self) -> Answer:
        """Read it over a connection of its own."""
        with self.control() as control:
            return control.get()

    def set(self, *lines: str) -> int:
        """Change it over a connection of its own; return the error's number."""
        with self.control() as control:
            return control.set(*lines)

    def reset(self) -> None:
        """Take its key and its peers away."""
        lines = ("listen_port=0", "fwmark=0", "replace_peers=true")
        assert self.set(f"private_key={ZERO}", *lines) == 0

    def differs(self, what: str, ours: T, theirs: T) -> T:
        """Return what this one does where the two differ, which the document must tell."""
        assert f"| {what} |" in DOCUMENT.read_text(encoding="utf-8"), f"undocumented: {what}"
        return ours if self.is_ours else theirs


@contextmanager
def running(host: Host, implementation: str) -> Iterator[Device]:
    """Start a program on a host, and end it when the block is left."""
    interface = interface_name()
    process = start_device(host, [program(implementation), "-f", interface], interface)
    host.ip("link", "set", interface, "up")
    try:
        yield Device(host, implementation, interface, process.pid)
    finally:
        process.terminate()
        process.wait(60)
