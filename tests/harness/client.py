"""A WireGuard client: wireguard-go with the configuration that `wgbind peer add` printed."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from harness.names import interface_name
from harness.namespace import Namespace
from harness.wait import wait_until
from harness.wireguard_go import bring_up, program, start_device, wg

REKEY_AFTER_TIME = 120
"""Seconds after which whoever began a session renews it (the paper, section 6.1)."""

REPEATED_WITHIN = 6.5
"""Seconds after which wireguard-go repeats no handshake that was answered."""


@dataclass(frozen=True)
class Client:
    """A configured client.

    Attributes:
        namespace: Its host.
        interface: Its tunnel's interface.
        ipv4: Its address in the tunnel.
        ipv6: Likewise.
    """

    namespace: Namespace
    interface: str
    ipv4: str
    ipv6: str

    def latest_handshake(self) -> int:
        """Return the Unix time of its latest handshake in seconds; 0 before the first one."""
        (line,) = wg(self.namespace, "show", self.interface, "latest-handshakes").splitlines()
        return int(line.split()[1])

    def settled_handshake(self) -> int:
        """Wait until the latest handshake will not be repeated by itself; return its time.

        On a busy machine wireguard-go may handle the response before it has armed the timer that
        sends the initiation again, and then repeats a handshake that was complete after
        REKEY_TIMEOUT = 5 s and some jitter (`SendHandshakeInitiation` arms it after sending).
        """
        while time.time() - (latest := self.latest_handshake()) < REPEATED_WITHIN:
            time.sleep(0.1)
        return latest

    def keeps_session(self, handshake: int) -> bool:
        """Tell whether the session of a handshake goes on, or was renewed for its age alone."""
        latest = self.latest_handshake()
        return latest == handshake or latest - handshake >= REKEY_AFTER_TIME

    def server_key(self) -> str:
        """Return the server's public key."""
        return wg(self.namespace, "show", self.interface, "peers").strip()


def connect(
    namespace: Namespace,
    configuration: str,
    folder: Path,
    *networks: str,
    implementation: str = "wireguard-go",
) -> Client:
    """Bring a client up by `ip` and `wg setconf`, with routes to `networks` through the tunnel.

    Args:
        namespace: The client's host.
        configuration: The text that `wgbind peer add` printed.
        folder: Where its file is kept.
        networks: Prefixes to route.
        implementation: The client's program, "wireguard-go" or "wgbind-device".
    """
    interface = interface_name()
    path = _write(folder, interface, configuration)
    process = start_device(namespace, [program(implementation), "-f", interface], interface)
    stripped = folder / f"{interface}.stripped"
    stripped.write_text(namespace.run(["wg-quick", "strip", str(path)]).stdout)
    for address in _values(configuration, "Address"):
        namespace.add_address(interface, address)
    mtu, *_ = _values(configuration, "MTU") or ["1420"]
    bring_up(namespace, interface, process, mtu)
    for network in networks:
        namespace.ip("route", "add", network, "dev", interface)
    # To a link that is up: the peer is there, and takes packets, when this returns.
    wg(namespace, "setconf", interface, str(stripped))
    return _client(namespace, interface, configuration)


def connect_with_wg_quick(
    namespace: Namespace, configuration: str, folder: Path, *, implementation: str = "wireguard-go"
) -> Client:
    """Bring a client up by `wg-quick up`, which routes all that the host sends into the tunnel."""
    interface = interface_name()
    path = _write(folder, interface, configuration)
    wg_quick(namespace, "up", path, implementation=implementation)
    # wireguard-go has no port until it has heard that the link is up.
    wait_until(
        lambda: wg(namespace, "show", interface, "listen-port").strip() != "0",
        f"the UDP port of {interface}",
    )
    return _client(namespace, interface, configuration)


def disconnect_with_wg_quick(client: Client, folder: Path) -> None:
    """Bring a client down by `wg-quick down`."""
    path = folder / f"{client.interface}.conf"
    wg_quick(client.namespace, "down", path)


def wg_quick(
    namespace: Namespace, command: str, path: Path, *, implementation: str = "wireguard-go"
) -> str:
    """Run `wg-quick COMMAND` on a file, named after its interface; return what it prints.

    Name servers do not reach the system, but the file `resolvconf` beside that file.
    """
    namespace.owns(path.stem)
    # wg-quick hands the name servers to resolvconf, which knows no namespaces and would change
    # those of the machine that runs the tests; a script that notes them stands in for it.
    resolvconf = path.parent / "bin" / "resolvconf"
    resolvconf.parent.mkdir(exist_ok=True)
    resolvconf.write_text(f"#!/bin/sh\ncat >>{path.parent}/resolvconf\n")
    resolvconf.chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{resolvconf.parent}:{os.environ['PATH']}",
        "WG_QUICK_USERSPACE_IMPLEMENTATION": program(implementation),
    }
    return namespace.run(["wg-quick", command, str(path)], env=env).stdout


def _client(namespace: Namespace, interface: str, configuration: str) -> Client:
    hosts = [address.split("/")[0] for address in _values(configuration, "Address")]
    (ipv4,) = (host for host in hosts if ":" not in host)
    (ipv6,) = (host for host in hosts if ":" in host)
    return Client(namespace, interface, ipv4, ipv6)


def _write(folder: Path, interface: str, configuration: str) -> Path:
    path = folder / f"{interface}.conf"
    path.touch(0o600)
    path.write_text(configuration)
    return path


def _values(configuration: str, key: str) -> list[str]:
    lines = re.findall(rf"^{key}\s*=\s*(.+)$", configuration, re.MULTILINE)
    return [value.strip() for line in lines for value in line.split(",")]
