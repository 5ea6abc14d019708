"""Who takes handshake messages stays with the sockets when the interface is moved.

one                          middle                          two
wg ─────────────────────────── lo ─────────────────────────── wg
"""

from contextlib import ExitStack
from pathlib import Path

import pytest

from harness import cpu_time, ping
from net.host import Host
from netns.interface import Interface, introduce, start
from wgbind.keys import PrivateKey


@pytest.mark.parametrize("workers", [1, 3])
def test_handshakes_with_an_interface_that_was_moved(workers: int) -> None:
    """Also on a port that it got there: its sockets are still those of the program's host."""
    with ExitStack() as stack:
        middle, left, right = (stack.enter_context(Host(role)) for role in ("middle", "one", "two"))
        one = start(middle, port=1, env={"WGBIND_WORKERS": str(workers)})
        two = start(middle, port=2)
        for end, to, number in ((one, left, 1), (two, right, 2)):
            end.move(to)
            end.up(f"192.168.241.{number}/24", f"fd00::{number}/112")
        introduce(one, two)
        for port in (1, 9999):
            one.set("listen-port", str(port))
            for family in ("udp", "udp6"):
                # One for each worker, and the porter's.
                assert sockets(middle, family, port) == workers + 1
                assert sockets(left, family, port) == 0
            # New peers, who need a handshake. Nothing is sent until one knows where the other is.
            one.remove_peer(two)
            two.remove_peer(one)
            two.set_key(PrivateKey.generate())
            introduce(one, two)
            before = porter(one)
            two.set_peer(one, endpoint=f"127.0.0.1:{port}")
            assert ping(right, "192.168.241.1").lost == 0
            assert porter(one) > before
            assert one.endpoint(two) == "127.0.0.1:2"


def porter(end: Interface) -> int:
    """Return the nanoseconds that its porter has worked. Whoever asks for its state wakes him."""
    return cpu_time(end.process.pid, "porter")


def sockets(host: Host, family: str, port: int) -> int:
    """Return how many sockets of a host are bound to a UDP port."""
    table = host.call(Path(f"/proc/thread-self/net/{family}").read_text)
    local = (line.split()[1] for line in table.splitlines()[1:])
    return sum(address.endswith(f":{port:04X}") for address in local)
