"""Two hosts with a tunnel between them and nothing else: what conformance and benchmarks need."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.names import interface_name
from harness.namespace import Namespace, veth
from harness.topology import Host, Link
from harness.wireguard_go import bring_up, program, start_device, wg

PORT = 51820


@dataclass(frozen=True)
class End:
    """One end of the tunnel.

    Attributes:
        namespace: Its host.
        interface: Its tunnel's interface.
        inner: Its addresses in the tunnel.
        process: The program that makes it.
        key: Its public key in base64; boringtun-cli does not tell it.
    """

    namespace: Namespace
    interface: str
    inner: Host
    process: subprocess.Popen[str]
    key: str

    def public_key(self) -> str:
        """Return its public key in base64."""
        return self.key

    def add_peer(
        self,
        public_key: str,
        *allowed_ips: str,
        endpoint: str | None = None,
        preshared_key: str | None = None,
    ) -> None:
        """Give it a peer, or change one: prefixes, and ADDRESS:PORT if it is to begin."""
        arguments = ["peer", public_key, "allowed-ips", ",".join(allowed_ips)]
        if endpoint is not None:
            arguments += ["endpoint", endpoint]
        if preshared_key is not None:
            arguments += ["preshared-key", "/dev/stdin"]
        wg(self.namespace, "set", self.interface, *arguments, text=preshared_key)

    def latest_handshake(self) -> int:
        """Return the Unix time of the latest handshake with its only peer; 0 before the first."""
        line = wg(self.namespace, "show", self.interface, "latest-handshakes")
        return int(line.split()[1])


@contextlib.contextmanager
def tunnel(
    client: str,
    server: str,
    *,
    outer: Literal["ipv4", "ipv6"] = "ipv4",
    before: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    preshared_key: str | None = None,
) -> Iterator[tuple[End, End]]:
    """Join two new hosts by a veth link and by a tunnel over it.

    Args:
        client: Program of the end that knows the other's endpoint: "wireguard-go" or
            "wgbind-device".
        server: Program of the other end.
        outer: What the tunnel's datagrams travel in.
        before: Words in front of both programs, such as `unshare`.
        env: What is added to their environment.
        preshared_key: Of both, in base64.
    """
    link = Link.random()
    with Namespace("client") as one, Namespace("server") as two:
        addresses = (link.host(1).with_prefix(), link.host(2).with_prefix())
        veth(one, two, ("uplink", "uplink"), addresses)
        ends = (
            start_end(one, client, Host("10.7.0.1", "fd07::1"), before=before, env=env),
            start_end(two, server, Host("10.7.0.2", "fd07::2"), before=before, env=env),
        )
        there = link.host(2)
        endpoint = f"{there.ipv4}:{PORT}" if outer == "ipv4" else f"[{there.ipv6}]:{PORT}"
        for (end, other), address in zip((ends, ends[::-1]), (endpoint, None), strict=True):
            networks = (f"{other.inner.ipv4}/32", f"{other.inner.ipv6}/128")
            end.add_peer(
                other.public_key(), *networks, endpoint=address, preshared_key=preshared_key
            )
        yield ends


def start_end(
    namespace: Namespace,
    implementation: str,
    inner: Host,
    *,
    prefix_lengths: tuple[int, int] = (24, 64),
    before: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> End:
    """Start a program with wireguard-go's contract, with a new key and with no peers.

    Args:
        namespace: Its host, on which it listens on `PORT`.
        implementation: The program.
        inner: Its addresses in the tunnel.
        prefix_lengths: How large the networks are that it reaches through the tunnel.
        before: Words in front of the program, such as `unshare`.
        env: What is added to its environment.
    """
    interface = interface_name()
    argv = [*before, program(implementation), "-f", interface]
    process = start_device(namespace, argv, interface, env=env)
    with tempfile.NamedTemporaryFile("w") as key:  # 0600
        secret = wg(namespace, "genkey")
        key.write(secret)
        key.flush()
        private_key = ("private-key", key.name)
        wg(namespace, "set", interface, *private_key, "listen-port", str(PORT))
    namespace.add_address(interface, f"{inner.ipv4}/{prefix_lengths[0]}")
    namespace.add_address(interface, f"{inner.ipv6}/{prefix_lengths[1]}")
    bring_up(namespace, interface, process, "1420")
    public_key = wg(namespace, "pubkey", text=secret).strip()
    return End(namespace, interface, inner, process, public_key)
