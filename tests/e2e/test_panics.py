"""A thread that panics takes all of its program down, loudly: a supervisor starts it anew.

It is told by the kernel that there is no randomness, without which it must not go on.
"""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from floods.messages import Initiator, junk
from harness import (
    Wgbind,
    failing,
    host_state,
    interface_name,
    program,
    start_device,
    wg,
)
from net.host import Host
from wgbind.keys import PrivateKey

PATIENCE = 60.0
"""Seconds for what takes tenths of one."""


@pytest.fixture
def host() -> Iterator[Host]:
    """A host without any neighbour."""
    with Host("panic") as namespace:
        yield namespace


def new_session(host: Host, interface: str, _key: str, _port: int) -> None:
    """For a session with a peer the worker draws an index."""
    peer = ("peer", str(PrivateKey.generate().public_key()), "endpoint", "127.0.0.1:9")
    # `wg` may lose its server.
    host.run(["wg", "set", interface, *peer, "persistent-keepalive", "1"], check=False)


def strangers(host: Host, _interface: str, key: str, port: int) -> None:
    """When many strangers wait for an answer, the porter draws a nonce for each cookie."""
    with ExitStack() as stack:
        calls = []
        for _ in range(300):
            sock = host.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
            calls.append((stack.enter_context(sock), junk(1, key)))
        # All at once: it must not keep up.
        for sock, message in calls:
            sock.sendto(message, ("127.0.0.1", port))


def newcomer(host: Host, interface: str, key: str, port: int) -> None:
    """For the answer to a peer without a session its key is drawn by the thread of handshakes."""
    private = PrivateKey.generate()
    host.run(["wg", "set", interface, "peer", str(private.public_key())], check=False)
    with host.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(Initiator(private.reveal(), key).initiation(), ("127.0.0.1", port))


THREADS = {"worker": new_session, "porter": strangers, "handshakes": newcomer}
"""Each thread that reads what others send, and what makes it want randomness soon."""


def panic(host: Host, interface: str, process: subprocess.Popen[str], role: str) -> str:
    """Have a program's thread panic; return what the program has printed when it has ended."""
    key, port = (
        wg(host, "show", interface, what).strip() for what in ("public-key", "listen-port")
    )
    with failing(process.pid, role, "getrandom", "EIO"):
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None:
            assert time.monotonic() < deadline, "it goes on"
            THREADS[role](host, interface, key, int(port))
        output, _ = process.communicate(timeout=PATIENCE)
    return output


def tells(output: str, role: str) -> bool:
    """Whether a program has said which of its threads has failed, and of what."""
    # That thread's arithmetic is boringtun's, and so are its words.
    cause = "" if role == "handshakes" else "the system gives random bytes"
    return f"{role} failed: {cause}" in output


@pytest.mark.parametrize("role", THREADS)
def test_a_device_whose_thread_panics(host: Host, role: str) -> None:
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
        output = panic(host, interface, process, role)
        assert process.returncode == 1
        assert tells(output, role)
        assert output.splitlines()[-1].startswith("error: ")
        assert host_state(host) == before
    start_device(host, argv, interface)


@pytest.mark.parametrize("role", THREADS)
def test_a_server_whose_thread_panics(host: Host, tmp_path: Path, role: str) -> None:
    server = Wgbind(host, tmp_path)
    before = host_state(host)
    argv = server.command("server", "start", server.name, "--foreground")
    process = host.popen(argv, env=server.env)
    deadline = time.monotonic() + PATIENCE
    while not process.stdout or "is up" not in process.stdout.readline():
        assert process.poll() is None
        assert time.monotonic() < deadline
    output = panic(host, server.name, process, role)
    assert process.returncode == 1
    assert tells(output, role)
    assert "Traceback" not in output
    assert server.status()["state"] == "stopped"
    assert host_state(host) == before
    assert not server.runtime.joinpath(f"{server.name}.sock").exists()
    server.start()
    server.stop()
