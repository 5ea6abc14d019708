"""Hosts for a benchmark: a server and clients around it, each on a link of its own."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from harness import PORT, End, Host, Link, Namespace, start_end, veth

SERVER = Host("10.127.255.254", "fd64::ffff")
"""The server in the tunnel; clients have 10.64.0.1 and up (`load` numbers its own that way too)."""

PREFIX_LENGTHS = (10, 64)


@dataclass(frozen=True)
class Star:
    """A running server and its clients.

    Attributes:
        server: The measured end.
        clients: The others, which know the server and are known to it.
        hosts: Hosts with a link to the server but without a tunnel, for `load`.
        endpoints: The server's ADDRESS:PORT as seen from each of `hosts`.
    """

    server: End
    clients: list[End]
    hosts: list[Namespace]
    endpoints: list[str]


@contextlib.contextmanager
def star(server: str, *clients: str, hosts: int = 0) -> Iterator[Star]:
    """Start a server program, client programs and hosts for `load`."""
    with contextlib.ExitStack() as stack:
        namespaces = [
            stack.enter_context(Namespace(f"host{number}"))
            for number in range(len(clients) + hosts)
        ]
        middle = stack.enter_context(Namespace("server"))
        endpoints = []
        for number, namespace in enumerate(namespaces):
            link = Link.random()
            addresses = (link.host(1).with_prefix(), link.host(2).with_prefix())
            veth(namespace, middle, ("uplink", f"link{number}"), addresses)
            endpoints.append(f"{link.host(2).ipv4}:{PORT}")
        middle.sysctl("net.ipv4.ip_forward", "1")
        # A hub sends back the way it came; nobody is to be told of a shorter one.
        middle.sysctl("net.ipv4.conf.all.send_redirects", "0")
        middle.sysctl("net.ipv4.conf.default.send_redirects", "0")
        hub = start_end(middle, server, SERVER, prefix_lengths=PREFIX_LENGTHS)
        ends = []
        for number, program in enumerate(clients):
            inner = Host(f"10.96.0.{number + 1}", f"fd64::{number + 1}")
            end = start_end(namespaces[number], program, inner, prefix_lengths=PREFIX_LENGTHS)
            networks = ("10.64.0.0/10", "fd64::/64")
            end.add_peer(hub.public_key(), *networks, endpoint=endpoints[number])
            hub.add_peer(end.public_key(), f"{inner.ipv4}/32", f"{inner.ipv6}/128")
            ends.append(end)
        yield Star(hub, ends, namespaces[len(clients) :], endpoints[len(clients) :])
