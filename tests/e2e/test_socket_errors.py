"""No error of a UDP socket is more than the loss of a datagram: the session goes on after it.

client ── uplink ─────────────── uplink ── server
10.7.0.1, fd07::1     PORT       10.7.0.2, fd07::2
"""

import time
from collections.abc import Iterator

import pytest

from harness import PORT, End, count_packets, failing, ping, tunnel

PATIENCE = 30.0
"""Seconds for what takes tenths of one."""

REFUSE = "add table inet refuse; add chain inet refuse c {{ type filter hook {} priority 0; }}; "
REFUSE += "add rule inet refuse c udp dport {} {}"
ACCEPT = ["nft", "delete table inet refuse"]

CAUSES = {
    "EPERM": (["nft", REFUSE.format("output", PORT, "drop")], ACCEPT),
    "ENETUNREACH": (
        ["ip", "link", "set", "uplink", "down"],
        ["ip", "link", "set", "uplink", "up"],
    ),
}
"""What a server's host does to bring an error of sendmmsg(2) about, and to end that.

Routes that refuse do not: the kernel looks at none where it is told the interface to send by.
"""


@pytest.fixture(scope="module")
def ends() -> Iterator[tuple[End, End]]:
    """A client and a server: the same for all tests."""
    with tunnel("wgbind-device", "wgbind-device") as ends:
        client, server = ends
        assert ping(client.namespace, server.inner.ipv4, deadline=30).received > 0
        yield ends


def wait_for(ends: tuple[End, End], *, answered: bool) -> None:
    """Wait until a ping of the server's through the tunnel is answered, or is not."""
    client, server = ends
    deadline = time.monotonic() + PATIENCE
    while bool(ping(server.namespace, client.inner.ipv4, count=1, deadline=1).received) != answered:
        assert server.process.poll() is None
        assert time.monotonic() < deadline


@pytest.mark.parametrize("cause", CAUSES)
def test_what_a_host_answers(ends: tuple[End, End], cause: str) -> None:
    host = ends[1].namespace
    begin, end = CAUSES[cause]
    host.run(begin)
    wait_for(ends, answered=False)
    host.run(end)
    wait_for(ends, answered=True)


def test_a_client_whose_port_is_closed(ends: tuple[End, End]) -> None:
    """The server's host is told by ICMP that nobody listens (ECONNREFUSED, where a socket asks)."""
    client, server = ends
    client.namespace.run(["nft", REFUSE.format("input", PORT, "reject")])
    match = "icmp type destination-unreachable"
    with count_packets(server.namespace, match) as told:
        wait_for(ends, answered=False)
        deadline = time.monotonic() + PATIENCE
        while told() == 0:
            assert time.monotonic() < deadline
            wait_for(ends, answered=False)
    client.namespace.run(ACCEPT)
    wait_for(ends, answered=True)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("sendmmsg", "ENOBUFS"),
        ("sendmmsg", "ECONNREFUSED"),
        ("sendmmsg", "EMSGSIZE"),
        ("sendmmsg", "EHOSTUNREACH"),
        ("recvmmsg", "ECONNREFUSED"),
        ("recvmmsg", "ENOMEM"),
    ],
)
def test_what_a_kernel_seldom_answers(ends: tuple[End, End], call: str, error: str) -> None:
    _, server = ends
    with failing(server.process.pid, "worker", call, error):
        wait_for(ends, answered=False)
    wait_for(ends, answered=True)
