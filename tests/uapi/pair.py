"""A device under test with wireguard-go as its peer, which lives in another namespace."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import ping
from net.host import Host
from uapi.control import new_keys
from uapi.device import Device, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uapi.control import Peer

NEAR, FAR = "10.66.0.1", "10.66.0.2"
"""Addresses in the tunnel."""

INITIATION, RESPONSE = 148, 92
"""Bytes of a handshake's messages."""

UDP_HEADER = 8


@dataclass(frozen=True)
class Pair:
    """Two devices with their UDP sockets on one host, joined by a tunnel.

    Attributes:
        near: The device under test, whose interface is on the host.
        far: The other, whose interface is on a host of its own.
        far_host: That host.
        near_key, far_key: Their public keys.
    """

    near: Device
    far: Device
    far_host: Host
    near_key: str
    far_key: str

    def wait_for(self, condition: Callable[[Peer], bool]) -> Peer:
        """Wait until what the device under test knows of the other is so; return it.

        wireguard-go counts what it received after it has passed it on.
        """
        limit = time.monotonic() + 30
        while not condition(peer := self.peer()):
            assert time.monotonic() < limit, peer
        return peer

    def peer(self) -> Peer:
        """Read what the device under test knows of the other."""
        return self.near.get().peers[self.far_key]

    def pings(self, *, expected: bool = True) -> bool:
        """Tell whether an echo request finds its answer: soon, or late if that is expected."""
        return ping(self.near.host, FAR, count=2, deadline=30 if expected else 1).received > 0

    def connect(self) -> None:
        """Wait for the first answer."""
        limit = time.monotonic() + 60
        while not ping(self.near.host, FAR, count=1, deadline=6).received:
            assert time.monotonic() < limit, "no answer"

    @contextmanager
    def no_new_handshake(self) -> Iterator[None]:
        """Lose all handshakes, those under way too: what gets through has a session already."""
        lengths = f"{{ {UDP_HEADER + INITIATION}, {UDP_HEADER + RESPONSE} }}"
        chain = f"chain out {{ type filter hook output priority 0; udp length {lengths} drop; }}"
        self.near.host.run(["nft", "-f", "-"], text=f"table inet lost {{ {chain}; }}")
        try:
            yield
        finally:
            self.near.host.run(["nft", "delete", "table", "inet", "lost"])


@contextmanager
def paired(implementation: str) -> Iterator[Pair]:
    """Join a new device to a new wireguard-go; the device under test begins."""
    with (
        Host("near") as host,
        Host("far") as far_host,
        running(host, implementation) as near,
        running(host, "wireguard-go") as far,
    ):
        (near_private, near_key), (far_private, far_key) = new_keys(), new_keys()
        host.ip("link", "set", far.interface, "netns", far_host.name)
        for device, owner, address in ((near, host, NEAR), (far, far_host, FAR)):
            owner.add_address(device.interface, f"{address}/24")
            owner.ip("link", "set", device.interface, "mtu", "1420", "up")
        assert far.set(f"private_key={far_private}", "listen_port=0") == 0
        assert far.set(f"public_key={near_key}", f"allowed_ip={NEAR}/32") == 0
        endpoint = f"endpoint=127.0.0.1:{far.get().listen_port}"
        lines = (f"public_key={far_key}", f"allowed_ip={FAR}/32", endpoint)
        assert near.set(f"private_key={near_private}", *lines) == 0
        yield Pair(near, far, far_host, near_key, far_key)
