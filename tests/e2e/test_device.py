"""`wgbind-device` keeps wireguard-go's contract: each test runs on both programs."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from harness import (
    Namespace,
    interface_name,
    iperf3,
    ping,
    program,
    start_device,
    tunnel,
    wait_until,
    wg,
)
from harness.names import CONTROL_SOCKETS


@pytest.fixture(params=["wgbind-device", "wireguard-go"])
def implementation(request: pytest.FixtureRequest) -> str:
    """The program under test, and the one that the test is held against."""
    return program(request.param)


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A host without any neighbour."""
    with Namespace("device") as namespace:
        yield namespace


PATIENCE = 60
"""Seconds that a process gets to end."""


def is_waiting(pid: int) -> bool:
    """Tell whether all threads of a process sleep: there is nothing more that it prepares.

    wireguard-go opens its control socket before it listens to signals (its main.go).
    """
    try:
        found = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # one has ended just now
        return False
    return {text.rpartition(")")[2].split()[0] for text in found} == {"S"}


@pytest.mark.parametrize("outer", ["ipv4", "ipv6"])
@pytest.mark.parametrize(
    ("client", "server"),
    [
        ("wgbind-device", "wireguard-go"),
        ("wireguard-go", "wgbind-device"),
        ("wgbind-device", "wgbind-device"),
    ],
)
def test_peers_talk(client: str, server: str, outer: Literal["ipv4", "ipv6"]) -> None:
    with tunnel(client, server, outer=outer) as (one, two):
        assert ping(one.namespace, two.inner.ipv4).lost == 0
        assert ping(two.namespace, one.inner.ipv6).lost == 0
        up = iperf3(one.namespace, two.namespace, two.inner.ipv4)
        assert up.bits_per_second() > 20e6
        down = iperf3(one.namespace, two.namespace, two.inner.ipv6, reverse=True)
        assert down.bits_per_second() > 20e6
        _, handshake = wg(two.namespace, "show", two.interface, "latest-handshakes").split()
        assert abs(time.time() - int(handshake)) < 60


def test_background_returns_when_ready(implementation: str, host: Namespace) -> None:
    interface = interface_name()
    host.owns(interface)
    host.run([implementation, interface])
    assert wg(host, "show", interface, "listen-port").strip().isdigit()
    assert CONTROL_SOCKETS.joinpath(f"{interface}.sock").stat().st_mode & 0o077 == 0
    (pid,) = host.pids()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not host.pids(), "the end of the process")
    # Of its threads the last one to end takes the interface along.
    wait_until(lambda: interface not in host.interfaces(), "the end of the interface")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it(implementation: str, host: Namespace, number: signal.Signals) -> None:
    interface = interface_name()
    process = start_device(host, [implementation, "-f", interface], interface)
    wait_until(lambda: is_waiting(process.pid), "the process")
    process.send_signal(number)
    assert process.wait(PATIENCE) == 0
    assert interface not in host.interfaces()
    assert not CONTROL_SOCKETS.joinpath(f"{interface}.sock").exists()


def test_ends_with_its_control_socket(implementation: str, host: Namespace) -> None:
    interface = interface_name()
    process = start_device(host, [implementation, "-f", interface], interface)
    CONTROL_SOCKETS.joinpath(f"{interface}.sock").unlink()
    assert process.wait(PATIENCE) == 0
    assert interface not in host.interfaces()


def test_ends_with_its_interface(implementation: str, host: Namespace) -> None:
    interface = interface_name()
    process = start_device(host, [implementation, "-f", interface], interface)
    host.ip("link", "del", interface)
    assert process.wait(PATIENCE) == 0
    assert not CONTROL_SOCKETS.joinpath(f"{interface}.sock").exists()


def test_taken_interface_is_refused(implementation: str, host: Namespace) -> None:
    interface = interface_name()
    first = start_device(host, [implementation, "-f", interface], interface)
    for option in ([], ["-f"]):
        second = host.run([implementation, *option, interface], check=False)
        assert second.returncode != 0
        assert first.poll() is None
    assert wg(host, "show", interface, "public-key").strip() == "(none)"


def test_stale_control_socket_is_replaced(implementation: str, host: Namespace) -> None:
    interface = interface_name()
    first = start_device(host, [implementation, "-f", interface], interface)
    first.kill()
    first.wait(PATIENCE)
    assert CONTROL_SOCKETS.joinpath(f"{interface}.sock").exists()
    wait_until(lambda: interface not in host.interfaces(), "the end of the interface")
    start_device(host, [implementation, "-f", interface], interface)


def test_wrong_command_line_changes_nothing(host: Namespace) -> None:
    before = host.interfaces()
    for arguments in ([], ["--nonsense", "x"], ["a" * 16], ["a/b"], [""]):
        result = host.run([program("wgbind-device"), *arguments], check=False)
        assert result.returncode == 2, arguments
        assert "Traceback" not in result.stderr
    assert host.interfaces() == before


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("WGBIND_WITHOUT", "tun_uso, tso", 'feature "tso": there is none of that name; there are '),
        ("WGBIND_WORKERS", "two", "WGBIND_WORKERS: 'two': give a whole number from 1 to 16"),
        ("WGBIND_WORKERS", "17", "workers: 17: give a whole number from 1 to 16"),
    ],
)
def test_wrong_environment_is_told(
    host: Namespace, variable: str, value: str, message: str
) -> None:
    env = {**os.environ, variable: value}
    result = host.run([program("wgbind-device"), interface_name()], check=False, env=env)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


def test_number_of_workers(host: Namespace) -> None:
    interface = interface_name()
    argv = [program("wgbind-device"), "-f", interface]
    process = start_device(host, argv, interface, env={"WGBIND_WORKERS": "3"})

    def workers() -> int:
        names = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/comm")]
        return sum(name.startswith("worker ") for name in names)

    # Each gives itself its name.
    wait_until(lambda: workers() == 3, "three workers")


def test_kernel_without_tun_is_told(host: Namespace) -> None:
    hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"]
    result = host.run([*hide, program("wgbind-device"), interface_name()], check=False)
    assert result.returncode == 1
    assert "/dev/net/tun" in result.stderr
    assert result.stderr.count("\n") == 1
