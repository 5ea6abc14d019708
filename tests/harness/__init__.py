"""Real parts for tests: network namespaces, veth, wireguard-go, wgbind, iperf3, ping, nft.

Everything here has a name that no other test run has, lives in namespaces that
the test made, and is gone when its `with` block is left, however that happens.
"""

from harness.api import Api, make_server, running_api
from harness.client import (
    Client,
    connect,
    connect_with_wg_quick,
    disconnect_with_wg_quick,
    wg_quick,
)
from harness.count import count_packets
from harness.fault import failing
from harness.host_state import files, host_state
from harness.measure import (
    Iperf,
    Ping,
    UdpStream,
    backlog_drops,
    cpu_time,
    iperf3,
    is_fast,
    ping,
    reach,
    udp_stream,
)
from harness.names import TOKEN, interface_name, leftovers
from harness.namespace import Namespace, veth
from harness.network import Network, start_network
from harness.pair import PORT, End, start_end, tunnel
from harness.server import Wgbind
from harness.topology import Host, Link, Topology
from harness.transfer import Received, Relay, assert_whole, exchange, old_kernel
from harness.wait import wait_until
from harness.wireguard_go import WireguardGo, program, start_device, wg, wireguard_go

__all__ = [
    "PORT",
    "TOKEN",
    "Api",
    "Client",
    "End",
    "Host",
    "Iperf",
    "Link",
    "Namespace",
    "Network",
    "Ping",
    "Received",
    "Relay",
    "Topology",
    "UdpStream",
    "Wgbind",
    "WireguardGo",
    "assert_whole",
    "backlog_drops",
    "connect",
    "connect_with_wg_quick",
    "count_packets",
    "cpu_time",
    "disconnect_with_wg_quick",
    "exchange",
    "failing",
    "files",
    "host_state",
    "interface_name",
    "iperf3",
    "is_fast",
    "leftovers",
    "make_server",
    "old_kernel",
    "ping",
    "program",
    "reach",
    "running_api",
    "start_device",
    "start_end",
    "start_network",
    "tunnel",
    "udp_stream",
    "veth",
    "wait_until",
    "wg",
    "wg_quick",
    "wireguard_go",
]
