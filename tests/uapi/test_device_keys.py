"""The keys of the device itself."""

import socket

import pytest

from uapi.control import ZERO, new_keys
from uapi.device import Device


def test_a_new_device_has_a_port_and_nothing_else(device: Device) -> None:
    with device.control() as control:
        control.send("get=1\n\n")
        port, errno, end = control.lines()
    assert port.startswith("listen_port=")
    assert (errno, end) == ("errno=0", "")


def test_private_key_is_read_back(device: Device) -> None:
    private, _ = new_keys()
    assert device.set(f"private_key={private}") == 0
    assert device.get().private_key == private


def test_private_key_is_clamped(device: Device) -> None:
    assert device.set(f"private_key={'ff' * 32}") == 0
    # RFC 7748, section 5.
    assert device.get().private_key == f"f8{'ff' * 30}7f"


def test_private_key_of_zeros_removes(device: Device) -> None:
    private, _ = new_keys()
    assert device.set(f"private_key={private}") == 0
    assert device.set(f"private_key={ZERO}") == 0
    assert device.get().private_key is None


def test_another_private_key_keeps_the_peers(device: Device) -> None:
    _, peer = new_keys()
    for private in (new_keys()[0], new_keys()[0], ZERO):
        lines = (f"public_key={peer}", "allowed_ip=10.0.0.0/8") if private != ZERO else ()
        assert device.set(f"private_key={private}", *lines) == 0
        assert device.get().peers[peer].allowed_ips == ["10.0.0.0/8"]


def test_listen_port_is_bound(device: Device) -> None:
    port = _free_port(device)
    assert device.set(f"listen_port={port}") == 0
    assert device.get().listen_port == port
    for family in (socket.AF_INET, socket.AF_INET6):
        assert _is_bound(device, family, port)
    assert device.set(f"listen_port={port}") == 0, "the same again"


def test_listen_port_0_picks_one(device: Device) -> None:
    port = _free_port(device)
    assert device.set(f"listen_port={port}") == 0
    assert device.set("listen_port=0") == 0
    picked = device.get().listen_port
    assert picked not in {None, 0, port}
    assert not _is_bound(device, socket.AF_INET, port)


def test_a_taken_port_is_refused(device: Device) -> None:
    before = device.get().listen_port
    taken = device.host.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    with taken:
        taken.bind(("0.0.0.0", 0))
        port = taken.getsockname()[1]
        assert device.set(f"listen_port={port}") == -98
        kept = device.get().listen_port
    assert kept == device.differs("port that is in use", before, None)


@pytest.mark.parametrize("mark", [1, 51820, 0xFFFFFFFF])
def test_fwmark(device: Device, mark: int) -> None:
    assert device.set(f"fwmark={mark}") == 0
    assert device.get().fwmark == mark
    assert device.set("fwmark=0") == 0
    assert device.get().fwmark == 0


def test_fwmark_stays_with_another_port(device: Device) -> None:
    assert device.set("fwmark=51820") == 0
    assert device.set("listen_port=0") == 0
    with device.host.call(_counting_socket) as there:
        rule = f"meta mark 51820 udp dport {there.getsockname()[1]}"
        endpoint = f"endpoint=127.0.0.1:{there.getsockname()[1]}"
        device.host.run(
            ["nft", "-f", "-"],
            text=f"table inet marks {{ chain out {{ type filter hook output priority 0;"
            f" {rule} accept; udp dport {there.getsockname()[1]} drop; }}; }}",
        )
        try:
            keepalive = "persistent_keepalive_interval=1"
            lines = (f"public_key={new_keys()[1]}", endpoint, keepalive)
            assert device.set(f"private_key={new_keys()[0]}", *lines) == 0
            assert len(there.recv(2000)) == 148
        finally:
            device.host.run(["nft", "delete", "table", "inet", "marks"])


def test_replace_peers_removes_those_that_are_not_named(device: Device) -> None:
    first, second, third = (new_keys()[1] for _ in range(3))
    assert device.set(f"public_key={first}", f"public_key={second}") == 0
    lines = ("replace_peers=true", f"public_key={second}", f"public_key={third}")
    assert device.set(*lines) == 0
    assert set(device.get().peers) == {second, third}
    assert device.set("replace_peers=true") == 0
    assert device.get().peers == {}


def test_replace_peers_starts_from_the_defaults(device: Device) -> None:
    _, key = new_keys()
    lines = ("persistent_keepalive_interval=7", "allowed_ip=10.0.0.0/8", f"preshared_key={key}")
    assert device.set(f"public_key={key}", *lines) == 0
    assert device.set("replace_peers=true", f"public_key={key}") == 0
    peer = device.get().peers[key]
    assert (peer.persistent_keepalive, peer.allowed_ips, peer.preshared_key) == (0, [], ZERO)


def _free_port(device: Device) -> int:
    with device.host.call(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::", 0))
        return int(probe.getsockname()[1])


def _is_bound(device: Device, family: socket.AddressFamily, port: int) -> bool:
    with device.host.call(socket.socket, family, socket.SOCK_DGRAM) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return True
        return False


def _counting_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(60)
    return made
