"""Requests that are wrong: each is answered, and with ours changes nothing at all."""

import contextlib

import pytest

from uapi.control import ZERO
from uapi.device import Device

EINVAL, EPROTO = 22, 71

# The same each time: tests are named after them, and workers compare the names.
KEYS = ["1b" * 32, "2c" * 32]
A, B = KEYS
PRIVATE = "48" * 32

DEVICE_LINES = [
    "unknown=1",
    "=",
    "private_key=",
    f"private_key={PRIVATE[1:]}",
    f"private_key={PRIVATE}0",
    "private_key=qFu8nyzuOmro/F4KnD6cWhtdfTpr170744U9LPGsbUw=",
    "listen_port=65536",
    "listen_port=-1",
    "listen_port=",
    "fwmark=0x10",
    "fwmark=4294967296",
    "replace_peers=false",
    "replace_peers=",
    "public_key=",
    f"public_key={A[1:]}",
    "remove=true",
    "allowed_ip=10.0.0.0/8",
    "protocol_version=1",
]

PEER_LINES = [
    "unknown=1",
    "listen_port=1",
    f"private_key={PRIVATE}",
    "remove=false",
    "update_only=1",
    f"preshared_key={A[1:]}",
    "endpoint=vpn.example.org:1",
    "endpoint=192.0.2.1",
    "endpoint=2001:db8::1:1",
    "endpoint=[::1]:65536",
    "persistent_keepalive_interval=off",
    "persistent_keepalive_interval=65536",
    "persistent_keepalive_interval=-1",
    "replace_allowed_ips=yes",
    "allowed_ip=10.0.0.1",
    "allowed_ip=10.0.0.0/33",
    "allowed_ip=::/129",
    "allowed_ip=--10.0.0.0/8",
    "allowed_ip=+10.0.0.0/8",
    "allowed_ip=",
    "protocol_version=2",
]


@pytest.mark.parametrize("line", DEVICE_LINES)
def test_a_bad_line_of_the_device_is_answered(device: Device, line: str) -> None:
    assert device.set(line) == -EINVAL


@pytest.mark.parametrize("line", PEER_LINES)
def test_a_bad_line_of_a_peer_is_answered(device: Device, line: str) -> None:
    assert device.set(f"public_key={A}", line) == -EINVAL


def test_a_line_without_equals_is_answered(device: Device) -> None:
    assert device.set("nonsense") == -EPROTO
    assert device.set(f"public_key={A}", "nonsense") == -EPROTO


@pytest.mark.parametrize("line", ["endpoint=nowhere:1", "nonsense"])
def test_what_is_before_and_behind_a_bad_line_is_not_applied(device: Device, line: str) -> None:
    before = device.get()
    lines = (f"private_key={PRIVATE}", "fwmark=7", f"public_key={A}", "allowed_ip=10.0.0.0/8")
    assert device.set(*lines, line, f"public_key={B}") < 0
    after = device.get()
    applied = after.private_key, after.fwmark, list(after.peers)
    assert applied == device.differs("bad line", (None, 0, []), (PRIVATE, 7, [A]))
    if device.is_ours:
        assert after == before


def test_what_is_replaced_before_a_bad_line_is_still_there(device: Device) -> None:
    lines = (f"public_key={A}", "allowed_ip=10.0.0.0/8", "persistent_keepalive_interval=7")
    assert device.set(f"private_key={PRIVATE}", *lines) == 0
    before = device.get().peers
    assert device.set("replace_peers=true", f"public_key={B}", "nonsense") == -EPROTO
    after = device.get().peers
    assert after == device.differs("bad line", before, {B: after.get(B)})


def test_all_of_a_refused_request_is_read(device: Device) -> None:
    with device.control() as control:
        rest = [f"allowed_ip={number >> 8}.{number & 255}.0.0/16" for number in range(2000)]
        assert control.set("unknown=1", f"public_key={A}", *rest) == -EINVAL
        # wireguard-go forgets only what it has read by then, and takes the rest for an operation.
        with contextlib.suppress(BrokenPipeError):
            control.send("get=1\n\n")
        answer = control.lines()
    assert answer[-2:] == device.differs("rest of a refused request", ["errno=0", ""], [])


def test_get_with_a_line_is_refused_by_a_number_that_wg_reads(device: Device) -> None:
    with device.control() as control:
        control.send("get=1\nfwmark=1\n\n")
        errno, end = control.lines()
    assert end == ""
    assert errno == device.differs("sign after a `get`", f"errno={EPROTO}", f"errno=-{EINVAL}")


@pytest.mark.parametrize("operation", ["get=2", "GET / HTTP/1.1", "set", "put=1", "ü"])
def test_what_is_no_operation_ends_the_connection(device: Device, operation: str) -> None:
    with device.control() as control:
        control.send(f"{operation}\n\n")
        answer = control.lines()
        assert answer == device.differs("no operation", [f"errno={EPROTO}", ""], [])
        assert control.lines() == []
    assert device.set("fwmark=7") == 0, "others are served"


def test_half_a_request_is_none(device: Device) -> None:
    with device.control() as control:
        control.send("set=1\nfwmark=7\n")
        control.end()
        answer = control.lines()
    fwmark = device.get().fwmark
    told = device.differs("half a request", ([f"errno={EPROTO}", ""], 0), (["errno=0", ""], 7))
    assert (answer, fwmark) == told


def test_a_line_without_end_is_refused(device: Device) -> None:
    with device.control() as control:
        control.send(f"set=1\nfwmark={'1' * (64 << 10)}")
        answer = control.lines()
    told = device.differs("line without end", [f"errno={EPROTO}", ""], ["errno=-5", ""])
    assert answer == told
    assert device.get().fwmark == 0


def test_a_secret_is_not_repeated(device: Device) -> None:
    with device.control() as control:
        control.send(f"set=1\nprivate_key={PRIVATE[1:]}\n\nget=1\n\n")
        assert not any(PRIVATE[8:16] in line for line in control.lines())
    assert device.set(f"private_key={ZERO}") == 0
