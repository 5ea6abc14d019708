"""A server on a host whose kernel knows no IPv6."""

import sys
from pathlib import Path

from harness import Namespace, Wgbind, connect, old_kernel, ping, veth


def test_server_works_without_ipv6(tmp_path: Path) -> None:
    with Namespace("a") as a, Namespace("server", ipv6=False) as host:
        veth(a, host, ("uplink", "to-a"), (["198.18.0.1/30"], ["198.18.0.2/30"]))
        host.ip("route", "add", "default", "via", "198.18.0.1")
        server = Wgbind(host, tmp_path)
        launcher = old_kernel("udp_ipv6")
        probe = [sys.executable, "-c", "import socket; socket.socket(socket.AF_INET6)"]
        assert "Address family not supported" in host.run([*launcher, *probe], check=False).stderr

        server.start(before=launcher)
        (ipv4,) = (
            address.split("/")[0] for address in server.status()["addresses"] if "." in address
        )
        connect(a, server.add_peer("a"), tmp_path, f"{ipv4}/32")
        assert ping(a, ipv4).received > 0
        assert ping(a, ipv4).lost == 0
        server.stop()
        assert server.name not in host.interfaces()
