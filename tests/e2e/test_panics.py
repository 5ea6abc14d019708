"""A worker that panics takes all of its program down, loudly: a supervisor starts it anew.

The worker is told by the kernel that there is no randomness, without which it must not go on.
"""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import (
    Namespace,
    Wgbind,
    failing,
    host_state,
    interface_name,
    program,
    start_device,
    wg,
)
from wgbind.keys import PrivateKey

PATIENCE = 60.0
"""Seconds for what takes tenths of one."""


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A host without any neighbour."""
    with Namespace("panic") as namespace:
        yield namespace


def panic(host: Namespace, interface: str, process: subprocess.Popen[str]) -> str:
    """Have a program's worker panic; return what the program has printed when it has ended."""
    with failing(process.pid, "worker", "getrandom", "EIO"):
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None:
            assert time.monotonic() < deadline, "it goes on"
            # For a session with it the worker draws a random index. `wg` may lose its server.
            peer = ("peer", str(PrivateKey.generate().public_key()), "endpoint", "127.0.0.1:9")
            argv = ["wg", "set", interface, *peer, "persistent-keepalive", "1"]
            host.run(argv, check=False)
        output, _ = process.communicate(timeout=PATIENCE)
    return output


def test_a_device_whose_worker_panics(host: Namespace) -> None:
    before = host_state(host)
    interface = interface_name()
    argv = [program("wgbind-device"), "-f", interface]
    for _ in range(2):
        host.owns(interface)
        process = host.popen(argv)
        deadline = time.monotonic() + PATIENCE
        while host.run(["wg", "show", interface], check=False).returncode:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        wg(host, "set", interface, "private-key", "/dev/stdin", text=wg(host, "genkey"))
        output = panic(host, interface, process)
        assert process.returncode == 1
        assert "worker failed: the system gives random bytes" in output
        assert output.splitlines()[-1].startswith("error: ")
        assert host_state(host) == before
    start_device(host, argv, interface)


def test_a_server_whose_worker_panics(host: Namespace, tmp_path: Path) -> None:
    server = Wgbind(host, tmp_path)
    before = host_state(host)
    argv = server.command("server", "start", server.name, "--foreground")
    process = host.popen(argv, env=server.env)
    deadline = time.monotonic() + PATIENCE
    while not process.stdout or "is up" not in process.stdout.readline():
        assert process.poll() is None
        assert time.monotonic() < deadline
    output = panic(host, server.name, process)
    assert process.returncode == 1
    assert "worker failed: the system gives random bytes" in output
    assert "Traceback" not in output
    assert server.status()["state"] == "stopped"
    assert host_state(host) == before
    assert not server.runtime.joinpath(f"{server.name}.sock").exists()
    server.start()
    server.stop()
