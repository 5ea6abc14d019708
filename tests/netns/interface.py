"""One WireGuard interface of a scenario, and what two of them say to each other."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness import assert_whole, exchange, interface_name, ping, program, start_device, wg
from wgbind.keys import PresharedKey, PrivateKey, PublicKey

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from net.host import Host

DATAGRAMS = 500


@dataclass
class Interface:
    """A running program's interface.

    Attributes:
        host: Where the interface is.
        name: Its name.
        process: The program. Its sockets stay in the host where it was started.
        key: Its private key, as far as `set_key` gave it one.
        addresses: Its addresses in the tunnel, without prefix lengths.
    """

    host: Host
    name: str
    process: subprocess.Popen[str]
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    addresses: list[str] = field(default_factory=list)

    def public_key(self) -> PublicKey:
        """Return the public key of its private key."""
        return self.key.public_key()

    def set(self, *arguments: str, text: str | None = None) -> None:
        """Run `wg set` on it."""
        wg(self.host, "set", self.name, *arguments, text=text)

    def set_key(self, key: PrivateKey, *arguments: str) -> None:
        """Give it a private key, and set other things in the same breath."""
        self.key = key
        self.set("private-key", "/dev/stdin", *arguments, text=key.reveal())

    def set_peer(
        self,
        peer: Interface | PublicKey,
        *allowed_ips: str,
        endpoint: str | None = None,
        keepalive: int | None = None,
        preshared_key: PresharedKey | None = None,
    ) -> None:
        """Give it a peer, or change one: what is not given stays, allowed IPs are replaced."""
        arguments = ["peer", str(peer if isinstance(peer, PublicKey) else peer.public_key())]
        if allowed_ips:
            arguments += ["allowed-ips", ",".join(allowed_ips)]
        if endpoint is not None:
            arguments += ["endpoint", endpoint]
        if keepalive is not None:
            arguments += ["persistent-keepalive", str(keepalive)]
        if preshared_key is not None:
            arguments += ["preshared-key", "/dev/stdin"]
        self.set(*arguments, text=None if preshared_key is None else preshared_key.reveal())

    def remove_peer(self, peer: Interface | PublicKey) -> None:
        """Take a peer away."""
        key = peer if isinstance(peer, PublicKey) else peer.public_key()
        self.set("peer", str(key), "remove")

    def show(self, what: str) -> str:
        """Return what `wg show` prints of it, without the last newline."""
        return wg(self.host, "show", self.name, what).rstrip("\n")

    def endpoint(self, peer: Interface | PublicKey) -> str:
        """Return the endpoint that it knows of a peer."""
        return self._of_peer("endpoints", peer)

    def transfer(self, peer: Interface | PublicKey) -> tuple[int, int]:
        """Return how many bytes it had from a peer and sent to it, on the wire."""
        received, sent = self._of_peer("transfer", peer).split()
        return int(received), int(sent)

    def latest_handshake(self, peer: Interface | PublicKey) -> int:
        """Return the Unix time of the latest handshake with a peer; 0 before the first one."""
        return int(self._of_peer("latest-handshakes", peer))

    def move(self, to: Host) -> None:
        """Put the interface, not its sockets, into another host. It loses its addresses."""
        self.host.ip("link", "set", self.name, "netns", to.name)
        self.host = to
        self.addresses = []

    def up(self, *addresses: str, mtu: int = 1420) -> None:
        """Bring it up, with these addresses, with prefix lengths, beside those that it has."""
        for address in addresses:
            self.host.add_address(self.name, address)
            self.addresses.append(address.partition("/")[0])
        self.host.ip("link", "set", self.name, "mtu", str(mtu), "up")

    def flush(self) -> None:
        """Take all addresses away."""
        self.host.ip("address", "flush", "dev", self.name)
        self.addresses = []

    def _of_peer(self, what: str, peer: Interface | PublicKey) -> str:
        key = re.escape(str(peer if isinstance(peer, PublicKey) else peer.public_key()))
        line = re.search(rf"^{key}\t(.*)$", self.show(what), re.MULTILINE)
        assert line is not None, f"{self.name} has no such peer"
        return line[1]


def start(
    host: Host,
    implementation: str = "wgbind-device",
    *,
    port: int,
    key: PrivateKey | None = None,
    env: Mapping[str, str] | None = None,
) -> Interface:
    """Start a program in a host; its interface is down.

    Args:
        host: Where.
        implementation: The program.
        port: On which it listens.
        key: Its private key; a new one unless given.
        env: What is added to its environment.
    """
    name = interface_name()
    process = start_device(host, [program(implementation), "-f", name], name, env=env)
    interface = Interface(host, name, process)
    interface.set_key(key or interface.key, "listen-port", str(port))
    return interface


def introduce(one: Interface, two: Interface, preshared_key: PresharedKey | None = None) -> None:
    """Make two interfaces each other's peers, for their addresses."""
    for end, other in ((one, two), (two, one)):
        hosts = [f"{address}/{128 if ':' in address else 32}" for address in other.addresses]
        end.set_peer(other, *hosts, preshared_key=preshared_key)


def assert_all_passes(one: Interface, two: Interface, *, size: int = 1 << 20) -> None:
    """Assert that pings, TCP and UDP pass both ways, over all addresses, and arrive whole."""
    for end, other in ((two, one), (one, two)):
        for address in other.addresses:
            assert ping(end.host, address, count=10, interval=0.01).lost == 0
    addresses = tuple(two.addresses)
    received = exchange(one.host, two.host, addresses, size=size, datagrams=DATAGRAMS)
    assert_whole(received, DATAGRAMS)
