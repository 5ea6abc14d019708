"""Many allowed IPs and many peers in one request, side by side with wireguard-go."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from net.host import Host
from uapi.control import new_keys
from uapi.device import IMPLEMENTATIONS, Device, running

PEERS = 20_000


@pytest.fixture
def devices() -> Iterator[list[Device]]:
    with Host("uapi") as host, ExitStack() as stack:
        yield [stack.enter_context(running(host, each)) for each in IMPLEMENTATIONS]


def test_as_many_allowed_ips_as_the_kernels_own_test_has(devices: list[Device]) -> None:
    lines = [
        f"allowed_ip={line}"
        for i in range(1, 256)
        for j in range(256)
        for line in (f"{i}.{j}.0.0/16", f"{i:x}::{j:x}/128")
    ]
    assert len(lines) == 130_560
    _, peer = new_keys()
    seconds = []
    for device in devices:
        start = device.cpu_seconds()
        assert device.set(f"public_key={peer}", *lines) == 0
        written = device.cpu_seconds()
        assert len(device.get().peers[peer].allowed_ips) == len(lines)
        seconds.append((written - start, device.cpu_seconds() - written))
    _report("130,560 allowed IPs", seconds)
    # What they compute: the other one is as slow on this machine.
    assert seconds[0][0] < 2 * seconds[1][0] + 2


def test_many_peers_in_one_set(devices: list[Device]) -> None:
    lines = []
    for number in range(PEERS):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32"
        lines += [f"public_key={number:064x}", f"allowed_ip={address}", f"preshared_key={7:064x}"]
    seconds = []
    for device in devices:
        start = device.cpu_seconds()
        assert device.set("replace_peers=true", *lines[3:]) == 0
        written = device.cpu_seconds()
        peers = device.get().peers
        assert len(peers) == PEERS - 1
        assert all(len(peer.allowed_ips) == 1 for peer in peers.values())
        seconds.append((written - start, device.cpu_seconds() - written))
    _report(f"{PEERS} peers", seconds)
    assert seconds[0][0] < 2 * seconds[1][0] + 2


def _report(what: str, seconds: list[tuple[float, float]]) -> None:
    for name, (written, read) in zip(IMPLEMENTATIONS, seconds, strict=True):
        print(f"{what}: {name}: set {written:.2f} s, get {read:.2f} s")
