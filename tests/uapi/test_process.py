"""The program: what it takes from whoever starts it, what it costs, and where it may move."""

import fcntl
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import wgbind
from harness import interface_name, program
from harness.names import CONTROL_SOCKETS
from net.host import Host
from uapi.control import Control
from uapi.device import Device, running
from uapi.pair import paired

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000

MAX_RESIDENT = 30 << 20
"""Bytes of an idle process."""

MAX_START = 0.1
"""Seconds of computing beyond the start of the interpreter."""

FRAMEWORKS = {
    *("alembic", "asyncio", "fastapi", "httpx", "pydantic", "pyroute2", "rich", "segno"),
    *("sqlalchemy", "starlette", "typer", "uvicorn", "wgbind.cli", "wgbind.server"),
}


def test_foreground_by_the_environment(implementation: str) -> None:
    with Host("uapi") as host:
        interface = interface_name()
        host.owns(interface)
        env = {**os.environ, "WG_PROCESS_FOREGROUND": "1"}
        process = host.popen([program(implementation), interface], env=env)
        _wait_for(lambda: (CONTROL_SOCKETS / f"{interface}.sock").exists(), process)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.parametrize("flags", [0, IFF_VNET_HDR])
def test_open_descriptors_are_taken_over(implementation: str, tmp_path: Path, flags: int) -> None:
    with Host("uapi") as host:
        interface = interface_name()
        path = tmp_path / "control"
        if implementation == "wireguard-go":  # it watches this file, whatever it was handed
            path = CONTROL_SOCKETS / f"{interface}.sock"
            path.parent.mkdir(exist_ok=True)
        host.owns(interface)
        tun = host.call(_make_tun, interface, IFF_NO_PI | flags)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            handed = (tun, listener.fileno())
            env = {**os.environ, "WG_TUN_FD": str(tun), "WG_UAPI_FD": str(listener.fileno())}
            argv = host.command([program(implementation), "-f", "another"])
            process = subprocess.Popen(argv, pass_fds=handed, env=env)
        os.close(tun)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(str(path))
            client.sendall(b"set=1\nfwmark=7\n\n")
            assert client.recv(100) == b"errno=0\n\n"
        (link,) = host.ip_json("link", "show", interface)
        assert link["mtu"] == 1420
        assert "another" not in host.interfaces()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        _wait_for(lambda: interface not in host.interfaces())
        assert not path.exists()


def test_daemon_takes_descriptors_over() -> None:
    with Host("uapi") as host:
        interface = interface_name()
        host.owns(interface)
        tun = host.call(_make_tun, interface, IFF_NO_PI)
        env = {**os.environ, "WG_TUN_FD": str(tun)}
        argv = host.command([program("wgbind-device"), interface])
        subprocess.run(argv, pass_fds=[tun], env=env, check=True, timeout=60)
        os.close(tun)
        with Control(interface) as control:
            assert control.set("fwmark=7") == 0
        CONTROL_SOCKETS.joinpath(f"{interface}.sock").unlink()
        _wait_for(lambda: interface not in host.interfaces())


@pytest.mark.parametrize("variable", ["WG_TUN_FD", "WG_UAPI_FD"])
@pytest.mark.parametrize("value", ["x", "-1", "987654", "0"])
def test_wrong_descriptors_are_told(variable: str, value: str) -> None:
    with Host("uapi") as host:
        interface = interface_name()
        env = {**os.environ, variable: value}
        result = host.run([program("wgbind-device"), interface], check=False, env=env)
        assert result.returncode == 2
        assert value in result.stderr
        assert result.stderr.count("\n") == 1
        assert interface not in host.interfaces()


@pytest.mark.parametrize(("level", "said"), [("verbose", True), ("silent", False), ("", False)])
def test_log_level(tmp_path: Path, level: str, said: bool) -> None:
    with Host("uapi") as host:
        interface = interface_name()
        host.owns(interface)
        log = tmp_path / "log"
        with log.open("w") as stderr:
            argv = host.command([program("wgbind-device"), interface])
            env = {**os.environ, "LOG_LEVEL": level}
            subprocess.run(argv, env=env, stderr=stderr, check=True, timeout=60)
        with Control(interface) as control:
            assert control.set("nonsense") < 0
        host.kill(signal.SIGTERM)
        _wait_for(lambda: not host.pids())
        assert (interface in log.read_text()) == said


def test_wrong_log_level_is_told() -> None:
    env = {**os.environ, "LOG_LEVEL": "loud"}
    argv = [program("wgbind-device"), interface_name()]
    result = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "'loud'" in result.stderr or '"loud"' in result.stderr
    assert result.stderr.count("\n") == 1


def test_version() -> None:
    argv = [program("wgbind-device"), "--version"]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, f"wgbind-device {wgbind.__version__}\n")


def test_no_framework_is_imported() -> None:
    with Host("uapi") as host:
        interface = interface_name()
        host.owns(interface)
        script = (
            "import atexit, sys; from wgbind.device import main;"
            " atexit.register(lambda: print(*sys.modules));"
            " main()"
        )
        process = host.popen([sys.executable, "-c", script, "-f", interface])
        _wait_for(lambda: (CONTROL_SOCKETS / f"{interface}.sock").exists(), process)
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=60)
        imported = set(printed.split())
        assert "wgbind._native" in imported
        assert not imported & FRAMEWORKS
        assert len([name for name in imported if name.startswith("wgbind")]) <= 6


def test_it_is_up_soon() -> None:
    """The fastest of several, by what it computes: the rest of the machine has no part in that."""
    with Host("uapi") as host:
        interpreter = min(_seconds(host, [sys.executable, "-c", "pass"]) for _ in range(8))
        times = []
        for _ in range(8):
            interface = interface_name()
            host.owns(interface)
            times.append(_seconds(host, [program("wgbind-device"), interface]))
            host.kill(signal.SIGTERM)
            _wait_for(lambda: not host.pids())
    print(f"up in {min(times):.3f} s, the interpreter alone in {interpreter:.3f} s")
    assert min(times) - interpreter < MAX_START


def test_it_is_small_when_idle(device: Device) -> None:
    status = Path(f"/proc/{device.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    resident = int(found[1]) << 10
    print(f"{device.implementation}: {resident >> 20} MiB resident")
    assert resident < MAX_RESIDENT


def test_interface_moves_and_sockets_stay(implementation: str) -> None:
    with paired(implementation) as pair, Host("other") as other:
        pair.connect()
        pair.near.host.ip("link", "set", pair.near.interface, "netns", other.name)
        other.add_address(pair.near.interface, "10.66.0.1/24")
        other.ip("link", "set", pair.near.interface, "up")
        there = other.run(["ping", "-c", "1", "-w", "60", "10.66.0.2"]).stdout
        assert "1 received" in there
        port = pair.near.get().listen_port
        assert f"127.0.0.1:{port}" == pair.far.get().peers[pair.near_key].endpoint


def test_it_ends_when_its_interface_goes_with_a_namespace(implementation: str) -> None:
    with Host("uapi") as host, running(host, implementation) as device:
        with Host("other") as other:
            host.ip("link", "set", device.interface, "netns", other.name)
        _wait_for(lambda: device.pid not in host.pids())
        assert not device.socket.exists()


def _make_tun(interface: str, flags: int) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", interface.encode(), IFF_TUN | flags))
    return tun


def _seconds(host: Host, argv: list[str]) -> float:
    """Return how long a program computes until it returns, and what it leaves running until now."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    host.run(argv)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    tasks = (task for pid in host.pids() for task in Path(f"/proc/{pid}/task").iterdir())
    left = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)  # ns
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime + left / 1e9


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process is None or process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
