"""A server with three peers on links of their own, and three networks that are no tunnel.

    alice ──┐            ┌── lan        for a named network
    bob ────┼── server ──┼── internet   where the server's default routes go
    carol ──┘            └── second     another way out, to its own network only

lan, internet and second know the way to the tunnel's networks, as an intruder there would.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from ipaddress import ip_interface
from typing import TYPE_CHECKING

from typing_extensions import Self

from harness import Link, Wgbind, connect, reach, veth, wg
from net.host import Host

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from harness import Client

GROUPS = {"alice": ("staff",), "bob": ("staff", "guests"), "carol": ("guests",)}
"""The peers, and which groups each is in."""


class Neighbourhood:
    """The hosts of the picture, and a server with its peers connected; a context manager.

    Attributes:
        server: The server's host.
        wgbind: The server.
        hosts: The other hosts by name.
        clients: The peers by name, on hosts of the same name.
        own: The server's addresses in the tunnel, IPv4 first.
    """

    def __init__(self, folder: Path) -> None:
        self.server = Host("server")
        self.wgbind = Wgbind(self.server, folder)
        self.hosts = {name: Host(name) for name in (*GROUPS, "lan", "internet", "second")}
        self.clients: dict[str, Client] = {}
        self.own: tuple[str, str] = ("", "")
        self._fresh = ""
        self._links = {name: Link.random() for name in self.hosts}
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.server)
            for name, host in self.hosts.items():
                stack.enter_context(host)
                ends = self._links[name].host(2), self._links[name].host(1)
                addresses = ends[0].with_prefix(), ends[1].with_prefix()
                veth(host, self.server, ("eth0", name), addresses)
                if name in GROUPS:
                    host.ip("route", "add", "default", "via", ends[1].ipv4)
            for version, address in zip(("-4", "-6"), self.addresses("internet"), strict=True):
                self.server.ip(version, "route", "add", "default", "via", address)
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def addresses(self, name: str) -> tuple[str, str]:
        """Return what a host is called by: IPv4 and IPv6, those in the tunnel if it is a peer."""
        where = self.clients.get(name) or self._links[name].host(2)
        return where.ipv4, where.ipv6

    def gateway(self, name: str) -> tuple[str, str]:
        """Return the server's addresses on the link to a host."""
        where = self._links[name].host(1)
        return where.ipv4, where.ipv6

    def reload(self, policy: str | None = None) -> None:
        """Give the running server other settings in [policy] and [routing], or the first again.

        "LAN" in them stands for the prefixes of the LAN.
        """
        text = self._fresh
        if policy is not None:
            link = self._links["lan"]
            policy = policy.replace("LAN", f'["{link.ipv4}", "{link.ipv6}"]')
            text = re.sub(r"(?ms)^\[policy\]$.*?^(?=\[client\]$)", lambda _: f"{policy}\n", text)
        self.wgbind.settings.write_text(text)
        self.wgbind.run("server", "reload", self.wgbind.name)

    def forget_sessions(self) -> None:
        """Let each peer begin anew, as it would by itself some 20 seconds after the server did."""
        for name, client in self.clients.items():
            stripped = self._folder / f"{client.interface}.stripped"
            wg(self.hosts[name], "setconf", client.interface, str(stripped))
            reach(self.hosts[name], self.own[0])

    def _start(self) -> None:
        self.wgbind.run("server", "init", self.wgbind.name)
        self.wgbind.rewrite(("groups = []", 'groups = ["staff", "guests"]'))
        self._fresh = self.wgbind.settings.read_text()
        self.wgbind.start()
        ipv4, ipv6 = map(ip_interface, self.wgbind.status()["addresses"])
        self.own = str(ipv4.ip), str(ipv6.ip)
        networks = str(ipv4.network), str(ipv6.network)
        routes = [*networks]
        for name in ("lan", "internet", "second"):
            here = self.addresses(name)
            routes += [f"{here[0]}/32", f"{here[1]}/128"]
            for network, via in zip(networks, self.gateway(name), strict=True):
                self.hosts[name].ip("route", "add", network, "via", via)
        for name, groups in GROUPS.items():
            options = [word for group in groups for word in ("--group", group)]
            configuration = self.wgbind.add_peer(name, *options)
            self.clients[name] = connect(self.hosts[name], configuration, self._folder, *routes)
            reach(self.hosts[name], self.own[0])
