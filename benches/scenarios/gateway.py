"""TCP from a client by way of the server to a host behind it: with NAT, and with a firewall."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from harness import End, Link, Namespace, iperf3, ping, veth
from scenario import BOTH_ENDS, WGBIND, Figures, Pair, Scenario
from star import Star, star
from usage import Cpu

MASQUERADE = """
table ip gateway {
    chain leaving {
        type nat hook postrouting priority srcnat;
        oifname "lan" masquerade
    }
}
"""


POLICY = Path(__file__).parent.parent / "policy.py"


@contextlib.contextmanager
def beyond(hosts: Star) -> Iterator[tuple[Namespace, str]]:
    """Put a host behind the server, which the only client reaches; yield it and its address."""
    (client,), server = hosts.clients, hosts.server
    with Namespace("lan") as lan:
        link = Link.random()
        addresses = (link.host(1).with_prefix(), link.host(2).with_prefix())
        veth(server.namespace, lan, ("lan", "uplink"), addresses)
        client.add_peer(server.public_key(), "0.0.0.0/0")
        client.namespace.ip("route", "add", str(link.ipv4), "dev", client.interface)
        lan.ip("route", "add", f"{client.inner.ipv4}/32", "via", link.host(1).ipv4)
        yield lan, link.host(2).ipv4


def transfers(client: End, server: End, lan: Namespace, there: str, seconds: float) -> Figures:
    """Measure to the host and from it."""
    figures = {}
    assert ping(client.namespace, there).received
    for name, options in {"up": (), "down": ("-R",)}.items():
        cpu = Cpu(server.process.pid)
        transfer = iperf3(client.namespace, lan, there, seconds=seconds, options=options)
        received = transfer.result()["end"]["sum_received"]
        figures[f"{name} (Gbit/s)"] = received["bits_per_second"] / 1e9
        figures[f"{name}, server (s/GB)"] = cpu.seconds() / (received["bytes"] / 1e9)
    return figures


def nat(pair: Pair, seconds: float) -> Figures:
    """Measure with the host's address taken for the client's."""
    with star(pair.server, pair.client) as hosts, beyond(hosts) as (lan, there):
        hosts.server.namespace.run(["nft", "-f", "-"], text=MASQUERADE)
        return transfers(hosts.clients[0], hosts.server, lan, there, seconds)


def firewall(pair: Pair, seconds: float) -> Figures:
    """Measure without any rule and with those of a large policy, in turn."""
    with star(pair.server, pair.client) as hosts, beyond(hosts) as (lan, there):
        (client,), server = hosts.clients, hosts.server
        ends = (client, server, lan, there)
        without = transfers(*ends, seconds)
        apply = [sys.executable, str(POLICY), server.interface, client.inner.ipv4]
        load, add = map(float, server.namespace.run(apply).stdout.split())
        beside = transfers(*ends, seconds)
        server.namespace.run(["nft", "flush", "ruleset"])
        again = transfers(*ends, seconds)
        ways = ("up", "down")
        return {
            "policy loaded (s)": load,
            "one peer more (ms)": add * 1e3,
            **{
                f"{way}, of without rules (%)": 200
                * beside[f"{way} (Gbit/s)"]
                / (without[f"{way} (Gbit/s)"] + again[f"{way} (Gbit/s)"])
                for way in ways
            },
        }


SCENARIOS = [
    Scenario("gateway", nat, BOTH_ENDS),
    Scenario("firewall", firewall, (Pair(WGBIND, WGBIND),)),
]
