"""wireguard-go, the reference: our tests' clients, and the other half of benchmarks."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.names import CONTROL_SOCKETS, interface_name
from harness.namespace import Namespace
from harness.wait import PATIENCE, wait_until


def program(name: str) -> str:
    """Return the path of a program of the environment that the tests run in, or of the system.

    Raises:
        AssertionError: It is not there; the message says how to get it.
    """
    beside = Path(sys.prefix, "bin", name)
    path = str(beside) if beside.exists() else shutil.which(name)
    assert path is not None, f"{name} is neither in {beside.parent} nor in PATH: run `make test`"
    return path


class WireguardGo:
    """A running wireguard-go."""

    def __init__(
        self, namespace: Namespace, interface: str, process: subprocess.Popen[str]
    ) -> None:
        self.namespace = namespace
        self.interface = interface
        self.process = process

    def stop(self) -> None:
        """End it, which removes its interface."""
        self.process.terminate()
        self.process.wait(PATIENCE)


def wireguard_go(namespace: Namespace, interface: str | None = None) -> WireguardGo:
    """Start wireguard-go in `namespace` and return when its control socket answers.

    The namespace ends it. Its interface has a new name of its own unless given.
    """
    interface = interface or interface_name()
    process = start_device(namespace, [program("wireguard-go"), "-f", interface], interface)
    return WireguardGo(namespace, interface, process)


def start_device(
    namespace: Namespace,
    argv: list[str],
    interface: str,
    *,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a program with wireguard-go's contract; return when `wg` can talk to `interface`.

    `env` is added to its environment.
    """
    namespace.owns(interface)
    process = namespace.popen(
        argv,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1", **(env or {})},
    )
    socket = CONTROL_SOCKETS / f"{interface}.sock"

    def answers() -> bool:
        assert process.poll() is None, f"{argv} ended with {process.returncode}"
        return (
            socket.exists() and not namespace.run(["wg", "show", interface], check=False).returncode
        )

    wait_until(answers, f"the control socket of {argv}")
    return process


def bring_up(
    namespace: Namespace, interface: str, process: subprocess.Popen[str], mtu: str
) -> None:
    """Set a link up; return when its program takes packets: until then it drops them.

    wireguard-go opens its UDP port when it has heard of the link, and then starts its peers.
    """
    # Room for what comes while the program waits for its turn on a busy machine.
    namespace.ip("link", "set", interface, "mtu", mtu, "txqueuelen", "10000", "up")
    owner = f"pid={process.pid},"
    wait_until(
        lambda: owner in namespace.run(["ss", "-Hlunp"]).stdout, f"the UDP port of {interface}"
    )


def wg(namespace: Namespace, *arguments: str, text: str | None = None) -> str:
    """Run `wg` in the namespace and return what it prints."""
    return namespace.run(["wg", *arguments], text=text).stdout
