"""wireguard-go, the reference: our tests' clients, and the other half of benchmarks."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from harness.names import CONTROL_SOCKETS, interface_name
from harness.namespace import Namespace

START_TIMEOUT = 60.0
"""Seconds until an interface must answer on its control socket."""


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
        self.process.wait(60)


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
    deadline = time.monotonic() + START_TIMEOUT
    socket = CONTROL_SOCKETS / f"{interface}.sock"
    while not socket.exists() or namespace.run(["wg", "show", interface], check=False).returncode:
        assert process.poll() is None, f"{argv} ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{argv} opened no control socket"
        time.sleep(0.02)
    return process


def wg(namespace: Namespace, *arguments: str, text: str | None = None) -> str:
    """Run `wg` in the namespace and return what it prints."""
    return namespace.run(["wg", *arguments], text=text).stdout
