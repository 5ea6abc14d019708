"""Two hosts with a tunnel between them and nothing else: what conformance and benchmarks need."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from harness.names import interface_name
from harness.namespace import Namespace, veth
from harness.topology import Host, Link
from harness.wireguard_go import program, start_device, wg

PORT = 51820


@dataclass(frozen=True)
class End:
    """One end of the tunnel.

    Attributes:
        namespace: Its host.
        interface: Its tunnel's interface.
        inner: Its addresses in the tunnel.
    """

    namespace: Namespace
    interface: str
    inner: Host


@contextlib.contextmanager
def tunnel(
    client: str, server: str, *, outer: Literal["ipv4", "ipv6"] = "ipv4"
) -> Iterator[tuple[End, End]]:
    """Join two new hosts by a veth link and by a tunnel over it.

    Args:
        client: Program of the end that knows the other's endpoint: "wireguard-go" or
            "wgbind-device".
        server: Program of the other end.
        outer: What the tunnel's datagrams travel in.
    """
    link = Link.random()
    with Namespace("client") as one, Namespace("server") as two:
        addresses = (link.host(1).with_prefix(), link.host(2).with_prefix())
        veth(one, two, ("uplink", "uplink"), addresses)
        ends = (
            _start(one, client, Host("10.7.0.1", "fd07::1")),
            _start(two, server, Host("10.7.0.2", "fd07::2")),
        )
        for end, other in (ends, ends[::-1]):
            key = wg(other.namespace, "show", other.interface, "public-key").strip()
            allowed_ips = f"{other.inner.ipv4}/32,{other.inner.ipv6}/128"
            wg(end.namespace, "set", end.interface, "peer", key, "allowed-ips", allowed_ips)
        there = link.host(2)
        endpoint = f"{there.ipv4}:{PORT}" if outer == "ipv4" else f"[{there.ipv6}]:{PORT}"
        key = wg(two, "show", ends[1].interface, "public-key").strip()
        wg(one, "set", ends[0].interface, "peer", key, "endpoint", endpoint)
        yield ends


def _start(namespace: Namespace, implementation: str, inner: Host) -> End:
    interface = interface_name()
    start_device(namespace, [program(implementation), "-f", interface], interface)
    with tempfile.NamedTemporaryFile("w") as key:  # 0600
        key.write(wg(namespace, "genkey"))
        key.flush()
        private_key = ("private-key", key.name)
        wg(namespace, "set", interface, *private_key, "listen-port", str(PORT))
    namespace.ip("address", "add", f"{inner.ipv4}/24", "dev", interface)
    namespace.ip("address", "add", f"{inner.ipv6}/64", "dev", interface)
    namespace.ip("link", "set", interface, "mtu", "1420", "up")
    return End(namespace, interface, inner)
