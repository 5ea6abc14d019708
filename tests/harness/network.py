"""The whole path: a server that the installed command runs, with clients A and B connected."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from harness.client import Client, connect
from harness.measure import reach
from harness.server import Wgbind
from harness.topology import Topology


@dataclass(frozen=True)
class Network:
    """A topology whose server runs wgbind.

    Attributes:
        hosts: The topology.
        server: The server; its peers reach each other, the host behind it, and the server itself.
        a, b: The clients, connected.
        ipv4, ipv6: The server's addresses in the tunnel.
    """

    hosts: Topology
    server: Wgbind
    a: Client
    b: Client
    ipv4: str
    ipv6: str


def start_network(hosts: Topology, folder: Path) -> Network:
    """Start the server, add A and B, connect them and wait for their first answers."""
    server = Wgbind(hosts.server, folder)
    server.run("server", "init", server.name)
    server.rewrite(
        ('preset = ["gateway"]', 'preset = ["gateway", "hub"]'),
        ("rules = []", 'rules = ["allow peers -> host"]'),
    )
    server.start()
    # Room for what comes while the server waits for its turn on a busy machine.
    hosts.server.ip("link", "set", server.name, "txqueuelen", "10000")
    inner = [ipaddress.ip_interface(address) for address in server.status()["addresses"]]
    networks = [str(address.network) for address in inner]
    # Not the whole LAN: the endpoint that the server guessed is its own address there.
    networks += [f"{hosts.lan_host.ipv4}/32", f"{hosts.lan_host.ipv6}/128"]
    a = connect(hosts.a, server.add_peer("a"), folder, *networks)
    b = connect(hosts.b, server.add_peer("b"), folder, *networks)
    (ipv4,) = (str(address.ip) for address in inner if address.version == 4)
    (ipv6,) = (str(address.ip) for address in inner if address.version == 6)
    reach(hosts.a, ipv4)
    reach(hosts.b, ipv6)
    return Network(hosts, server, a, b, ipv4, ipv6)
