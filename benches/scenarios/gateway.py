"""TCP from a client by way of the server and its NAT to a host behind it."""

from harness import Link, Namespace, iperf3, ping, veth
from scenario import BOTH_ENDS, Figures, Pair, Scenario
from star import star
from usage import Cpu

MASQUERADE = """
table ip gateway {
    chain leaving {
        type nat hook postrouting priority srcnat;
        oifname "lan" masquerade
    }
}
"""


def measure(pair: Pair, seconds: float) -> Figures:
    """Measure to the host and from it."""
    figures = {}
    with star(pair.server, pair.client) as hosts, Namespace("lan") as lan:
        (client,), server = hosts.clients, hosts.server
        link = Link.random()
        addresses = (link.host(1).with_prefix(), link.host(2).with_prefix())
        veth(server.namespace, lan, ("lan", "uplink"), addresses)
        server.namespace.run(["nft", "-f", "-"], text=MASQUERADE)
        client.add_peer(server.public_key(), "0.0.0.0/0")
        client.namespace.ip("route", "add", str(link.ipv4), "dev", client.interface)
        there = link.host(2).ipv4
        assert ping(client.namespace, there).received
        for name, options in {"up": (), "down": ("-R",)}.items():
            cpu = Cpu(server.process.pid)
            transfer = iperf3(client.namespace, lan, there, seconds=seconds, options=options)
            received = transfer.result()["end"]["sum_received"]
            figures[f"{name} (Gbit/s)"] = received["bits_per_second"] / 1e9
            figures[f"{name}, server (s/GB)"] = cpu.seconds() / (received["bytes"] / 1e9)
    return figures


SCENARIOS = [Scenario("gateway", measure, BOTH_ENDS)]
