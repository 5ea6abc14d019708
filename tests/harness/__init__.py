"""Real parts for tests: network namespaces, veth, wireguard-go, iperf3 and ping.

Everything here has a name that no other test run has, lives in namespaces that
the test made, and is gone when its `with` block is left, however that happens.
"""

from harness.measure import Iperf, Ping, UdpStream, iperf3, ping, udp_stream
from harness.names import TOKEN, interface_name, leftovers
from harness.namespace import Namespace, veth
from harness.topology import Host, Topology
from harness.wireguard_go import WireguardGo, wg, wireguard_go

__all__ = [
    "TOKEN",
    "Host",
    "Iperf",
    "Namespace",
    "Ping",
    "Topology",
    "UdpStream",
    "WireguardGo",
    "interface_name",
    "iperf3",
    "leftovers",
    "ping",
    "udp_stream",
    "veth",
    "wg",
    "wireguard_go",
]
