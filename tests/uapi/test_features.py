"""The rows about the data path: what of the kernel is used, seen from outside."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from harness import interface_name, iperf3, old_kernel, program, start_device
from net.host import Host
from uapi.device import Device
from uapi.pair import FAR, paired

# linux/if_tun.h
IFF_MULTI_QUEUE = 0x0100
IFF_VNET_HDR = 0x4000


@contextlib.contextmanager
def traced(device: Device, calls: str, output: Path) -> Iterator[None]:
    """Write the system calls of a device to a file."""
    argv = ["strace", "-f", "-qq", "-e", f"trace={calls}", "-o", str(output), "-p", str(device.pid)]
    process = subprocess.Popen(argv)
    try:
        while not output.exists() or not _is_traced(device.pid):
            assert process.poll() is None
        yield
    finally:
        process.terminate()
        process.wait(60)


def test_datagrams_go_in_batches_and_in_trains(implementation: str, tmp_path: Path) -> None:
    output = tmp_path / "trace"
    with paired(implementation) as pair:
        pair.connect()
        with traced(pair.near, "recvmmsg,sendmmsg,setsockopt", output):
            assert pair.near.set("listen_port=0") == 0  # new sockets
            iperf3(pair.near.host, pair.far_host, FAR).result()
    text = output.read_text()
    assert re.search(r"setsockopt\(\d+, SOL_UDP, (UDP_GRO|0x68).*\[1\]", text)
    assert "recvmmsg(" in text
    assert "sendmmsg(" in text
    # A train is a message with its segments' size in a control message.
    assert re.search(r"cmsg_level=SOL_UDP, cmsg_type=(UDP_SEGMENT|0x67)", text)


def test_super_packets_come_from_the_interface(device: Device) -> None:
    assert _tun_flags(device) & IFF_VNET_HDR
    features = device.host.run(["ip", "-d", "link", "show", device.interface]).stdout
    assert "gso_max_size 65536" in features


def test_an_interface_of_several_queues() -> None:
    """wireguard-go has no such thing."""
    with Host("uapi") as host:
        interface = interface_name()
        argv = [program("wgbind-device"), "-f", interface]
        process = start_device(host, argv, interface, env={"WGBIND_WORKERS": "2"})
        device = Device(host, "wgbind-device", interface, process.pid)
        assert _tun_flags(device) & IFF_MULTI_QUEUE


def test_a_host_without_ipv6(implementation: str) -> None:
    with Host("uapi") as host:
        interface = interface_name()
        argv = [*old_kernel("udp_ipv6"), program(implementation), "-f", interface]
        process = start_device(host, argv, interface)
        host.ip("link", "set", interface, "up")
        device = Device(host, implementation, interface, process.pid)
        assert device.set("listen_port=51820") == 0
        port = device.get().listen_port
        assert port == device.differs("port on a host without IPv6", 51820, None)
        assert f"{51820:04X}" in host.run(["cat", "/proc/net/udp"]).stdout


def test_licence() -> None:
    assert metadata.metadata("wgbind")["License-Expression"] == "MIT"


def _tun_flags(device: Device) -> int:
    path = f"/sys/class/net/{device.interface}/tun_flags"
    return int(device.host.run(["cat", path]).stdout, 16)


def _is_traced(pid: int) -> bool:
    """Whether all threads are; strace attaches to one after the other."""
    states = (task / "status" for task in Path(f"/proc/{pid}/task").iterdir())
    return all("TracerPid:\t0\n" not in state.read_text(encoding="ascii") for state in states)
