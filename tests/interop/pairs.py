"""A client of one program and a server of another, which can be restarted.

client ── uplink ─────────────── uplink ── server
10.7.0.1, fd07::1     PORT       10.7.0.2, fd07::2
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness import PORT, Link, veth
from net.host import Host
from netns.interface import Interface, introduce, start
from wgbind.keys import PresharedKey

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS, GO = "wgbind-device", "wireguard-go"

PAIRS = [(GO, OURS), (OURS, GO)]
"""Client and server: the client knows where the server is, and begins."""

Outer = Literal["ipv4", "ipv6"]


@dataclass
class Pair:
    """The hosts of the picture.

    Attributes:
        programs: Client's and server's.
        client: The end that knows the other's endpoint.
        server: The other one.
        endpoint: The server's.
    """

    programs: tuple[str, str]
    client: Interface
    server: Interface
    endpoint: str
    preshared_key: PresharedKey

    def restart(self, role: Literal["client", "server"], env: dict[str, str] | None = None) -> None:
        """Kill a program, and start it again with the same configuration."""
        before: Interface = getattr(self, role)
        before.process.kill()
        before.process.wait(60)
        program = self.programs[role == "server"]
        after = start(before.host, program, port=PORT, key=before.key, env=env)
        setattr(self, role, after)
        after.up(*_inner(role))
        self.introduce()

    def change_key(self) -> None:
        """Give both another preshared key, one after the other."""
        self.preshared_key = PresharedKey.generate()
        self.client.set_peer(self.server, preshared_key=self.preshared_key)
        self.server.set_peer(self.client, preshared_key=self.preshared_key)

    def introduce(self) -> None:
        """Let both know each other's key, and the client where the server is."""
        introduce(self.client, self.server, self.preshared_key)
        self.client.set_peer(self.server, endpoint=self.endpoint)


@contextmanager
def pair(
    programs: tuple[str, str], outer: Outer = "ipv4", env: dict[str, str] | None = None
) -> Iterator[Pair]:
    """Build the hosts of the picture.

    Args:
        programs: Client's and server's.
        outer: What the tunnel's datagrams travel in.
        env: What is added to the environment of both.
    """
    link = Link.random()
    with ExitStack() as stack:
        left, right = stack.enter_context(Host("client")), stack.enter_context(Host("server"))
        addresses = (link.host(1).with_prefix(), link.host(2).with_prefix())
        veth(left, right, ("uplink", "uplink"), addresses)
        client, server = (
            start(host, program, port=PORT, env=env)
            for host, program in zip((left, right), programs, strict=True)
        )
        client.up(*_inner("client"))
        server.up(*_inner("server"))
        there = link.host(2)
        endpoint = f"{there.ipv4}:{PORT}" if outer == "ipv4" else f"[{there.ipv6}]:{PORT}"
        built = Pair(programs, client, server, endpoint, PresharedKey.generate())
        built.introduce()
        yield built


def _inner(role: str) -> tuple[str, str]:
    number = {"client": 1, "server": 2}[role]
    return f"10.7.0.{number}/24", f"fd07::{number}/64"
