"""Hosts around a server whose tunnel is a bridge: the rules know interfaces by name only.

    a ──┐
        ├── TUNNEL ── server ── lan ── lan
    b ──┘                └───── side ── side

Peers have host addresses and reach all others through the server, as in a tunnel. lan and side
know no way to them.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from contextlib import ExitStack, contextmanager
from ipaddress import ip_interface
from typing import TYPE_CHECKING

from typing_extensions import Self

from harness import interface_name, veth
from net.host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

ADDRESSES = (ip_interface("10.77.0.1/24"), ip_interface("fd77::1/64"))
SERVER = ("10.77.0.1", "fd77::1")
A = ("10.77.0.2", "fd77::2")
B = ("10.77.0.3", "fd77::3")
LAN, LAN_SERVER = ("198.18.1.9", "fd01::9"), ("198.18.1.1", "fd01::1")
SIDE, SIDE_SERVER = ("198.18.2.9", "fd02::9"), ("198.18.2.1", "fd02::1")

MTU = 1400
"""Of the tunnel; all other links have Ethernet's 1500."""

# Through a tunnel no one looks for neighbours, routers and groups.
QUIET = """
table ip6 quiet {
    chain output {
        type filter hook output priority 0;
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } drop
        icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } drop
    }
}
"""

ETH_P_ALL = 3  # linux/if_ether.h


class Tunnel:
    """The hosts of the picture, joined, the server forwarding."""

    def __init__(self) -> None:
        self.name = interface_name()
        self.a, self.b, self.server = Host("a"), Host("b"), Host("server")
        self.lan, self.side = Host("lan"), Host("side")
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for host in (self.a, self.b, self.server, self.lan, self.side):
                stack.enter_context(host)
            self._join()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _join(self) -> None:
        server = self.server
        # By itself it would take over the address of one of its ports.
        server.ip("link", "add", self.name, "address", "02:00:00:00:00:01", "type", "bridge")
        for setting in ("iptables", "ip6tables"):  # bridged frames are no packets of ours
            server.sysctl(f"net.bridge.bridge-nf-call-{setting}", "0")
        for inner in ADDRESSES:
            server.ip("address", "add", str(inner), "dev", self.name, "nodad")
        server.ip("link", "set", self.name, "up")
        for host, number, addresses in ((self.a, 0, A), (self.b, 1, B)):
            port = f"port{number}"
            host.run(["nft", "-f", "-"], text=QUIET)
            veth(host, server, ("tun", port))
            server.ip("link", "set", port, "master", self.name)
            for address, gateway in zip(addresses, SERVER, strict=True):
                host.ip("address", "add", address, "dev", "tun", "nodad")
                host.ip("route", "add", "default", "via", gateway, "dev", "tun", "onlink")
                # A tunnel knows no hardware addresses, hence nobody may have to ask for them.
                neighbour(host, gateway, server.mac(self.name), "tun")
                neighbour(server, address, host.mac("tun"), self.name)
        self._wait_for_ports()
        server.ip("link", "set", self.name, "mtu", str(MTU))
        for host, name, ours, theirs in (
            (self.lan, "lan", LAN, LAN_SERVER),
            (self.side, "side", SIDE, SIDE_SERVER),
        ):
            lengths = (f"{ours[0]}/24", f"{ours[1]}/64"), (f"{theirs[0]}/24", f"{theirs[1]}/64")
            veth(host, server, ("eth0", name), lengths)
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            server.sysctl(key, "1")

    def _wait_for_ports(self) -> None:
        """Wait until the bridge passes packets on: the kernel tells it later that a port is up."""
        deadline = time.monotonic() + 30
        while states := self._port_states() - {"forwarding"}:
            assert time.monotonic() < deadline, states
            time.sleep(0.02)

    def _port_states(self) -> set[str]:
        links = self.server.ip_json("-d", "link", "show", "master", self.name)
        return {str(link["linkinfo"]["info_slave_data"]["state"]) for link in links}

    def tell_outside_the_way(self) -> None:
        """Give lan and side routes to the peers, as an intruder there would have."""
        for host, via in ((self.lan, LAN_SERVER), (self.side, SIDE_SERVER)):
            for address, gateway in zip(ADDRESSES, via, strict=True):
                host.ip("route", "add", str(address.network), "via", gateway)


@contextmanager
def extra_address(host: Host, address: str) -> Iterator[None]:
    """Give a peer another address for a while."""
    host.ip("address", "add", address, "dev", "tun", "nodad")
    yield
    host.ip("address", "delete", address, "dev", "tun")


def neighbour(host: Host, address: str, mac: str, interface: str) -> None:
    host.ip("neighbour", "add", address, "lladdr", mac, "dev", interface, "nud", "permanent")


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def connect(client: Host, server: Host, address: str, timeout: float = 30) -> str:
    """Connect by TCP and return the client's address as the server sees it.

    Both ways have to work: the address is told over the connection.
    """
    with (
        server.call(socket.create_server, (address, 0), family=family(address)) as listener,
        client.call(socket.socket, family(address), socket.SOCK_STREAM) as sock,
    ):
        sock.settimeout(timeout)
        sock.connect(listener.getsockname()[:2])
        listener.settimeout(timeout)
        accepted, (source, *_) = listener.accept()
        with accepted:
            accepted.sendall(source.encode())
            assert sock.recv(100).decode() == source
        return str(source)


def blocked(client: Host, server: Host, address: str) -> bool:
    """Whether a TCP connection gets no answer at all."""
    try:
        connect(client, server, address, timeout=0.25)
    except TimeoutError:
        return True
    return False


def reachable(client: Host, server: Host, address: str, expected: bool) -> bool:
    """Whether a TCP connection comes about: a short look, and a long one if that is expected."""
    if not expected:
        return not blocked(client, server, address)
    try:
        connect(client, server, address)
    except TimeoutError:
        return False
    return True


class Capture:
    """The IP packets on one interface of a host from now on."""

    def __init__(self, host: Host, interface: str) -> None:
        self._socket = host.call(
            socket.socket, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)
        )
        self._socket.bind((interface, ETH_P_ALL))

    def packets(self, wait: float = 0.3) -> list[bytes]:
        """Return what came or went until nothing did for `wait` seconds, and end."""
        found = []
        deadline = time.monotonic() + 5
        with self._socket:
            while select.select([self._socket], [], [], wait)[0] and time.monotonic() < deadline:
                found.append(self._socket.recv(65535))
        return found


def payload(packet: bytes, protocol: int) -> bytes | None:
    """Return what a plain IPv4 or IPv6 packet carries, if it is of `protocol`."""
    if packet[0] >> 4 == 4:
        return packet[(packet[0] & 0xF) * 4 :] if packet[9] == protocol else None
    return packet[40:] if packet[6] == protocol else None


def segment_size(packet: bytes) -> int | None:
    """Return the maximum segment size that a TCP packet with SYN announces."""
    segment = payload(packet, socket.IPPROTO_TCP)
    if segment is None or not segment[13] & 0x02:
        return None
    options = segment[20 : (segment[12] >> 4) * 4]
    while options:
        if options[0] == 2:
            return int(struct.unpack("!H", options[2:4])[0])
        options = options[1:] if options[0] == 1 else options[options[1] :]
    return None
