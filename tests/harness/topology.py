"""The hosts of the end-to-end tests.

    A ──────────┐
                server ────────── lan
    B ──────────┘

A and B reach the server over a link each, with addresses of nobody else. The
server's default routes go to `lan`, which stands for a host behind it and knows
no way to the tunnel's networks: an answer reaches a client only through NAT.
"""

import contextlib
import ipaddress
import itertools
import secrets
from dataclasses import dataclass
from types import TracebackType

from typing_extensions import Self

from harness.namespace import Namespace, veth

# RFC 2544 reserves it for tests of network equipment; no host of the world has such an address.
OUTER_IPV4 = ipaddress.IPv4Network("198.18.0.0/15")

# From a random one on: drawn each for itself, two links of a host would be the same now and then.
_links = itertools.count(secrets.randbelow(1 << 13))


@dataclass(frozen=True)
class Link:
    """A network of two hosts: an IPv4 /28 and a unique local IPv6 /64 (RFC 4193)."""

    ipv4: ipaddress.IPv4Network
    ipv6: ipaddress.IPv6Network

    @classmethod
    def random(cls) -> Self:
        """Choose one that no other link of this process has, nor another test is likely to have."""
        base = int(OUTER_IPV4.network_address) + (next(_links) % (1 << 13) << 4)
        unique = (0xFD << 120) | (secrets.randbits(40) << 80) | (secrets.randbits(16) << 64)
        return cls(ipaddress.IPv4Network((base, 28)), ipaddress.IPv6Network((unique, 64)))

    def host(self, number: int) -> "Host":
        """Return the addresses of its host number 1 to 14."""
        return Host(str(self.ipv4[number]), str(self.ipv6[number]))


@dataclass(frozen=True)
class Host:
    """The addresses of one host on one network."""

    ipv4: str
    ipv6: str

    def with_prefix(self) -> tuple[str, str]:
        """Return them as `ip address add` takes them on a `Link`."""
        return f"{self.ipv4}/28", f"{self.ipv6}/64"


class Topology:
    """Namespaces `a`, `b`, `server` and `lan`, joined; a context manager.

    Attributes:
        a_outer, b_outer: The clients' addresses on their link to the server.
        server_to_a, server_to_b: The server's addresses on those links: a client's endpoint.
        server_lan, lan_host: The two ends of the link behind the server.
    """

    def __init__(self) -> None:
        self.a = Namespace("a")
        self.b = Namespace("b")
        self.server = Namespace("server")
        self.lan = Namespace("lan")
        self.link_a, self.link_b, self.link_lan = Link.random(), Link.random(), Link.random()
        self.a_outer, self.server_to_a = self.link_a.host(2), self.link_a.host(1)
        self.b_outer, self.server_to_b = self.link_b.host(2), self.link_b.host(1)
        self.server_lan, self.lan_host = self.link_lan.host(2), self.link_lan.host(1)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            for namespace in (self.a, self.b, self.server, self.lan):
                self._stack.enter_context(namespace)
            self._join(self.a, "uplink", self.a_outer, "to-a", self.server_to_a)
            self._join(self.b, "uplink", self.b_outer, "to-b", self.server_to_b)
            self._join(self.lan, "to-server", self.lan_host, "lan", self.server_lan)
            for client, server in ((self.a, self.server_to_a), (self.b, self.server_to_b)):
                client.ip("route", "add", "default", "via", server.ipv4)
                client.ip("-6", "route", "add", "default", "via", server.ipv6)
            self.server.ip("route", "add", "default", "via", self.lan_host.ipv4)
            self.server.ip("-6", "route", "add", "default", "via", self.lan_host.ipv6)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _join(
        self, host: Namespace, name: str, at: Host, server_name: str, server_at: Host
    ) -> None:
        veth(host, self.server, (name, server_name), (at.with_prefix(), server_at.with_prefix()))
