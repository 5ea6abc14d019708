"""What a device tells of its peers, to whoever asks."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from threading import Thread

import pytest

from harness import interface_name
from wgbind import Device, DeviceError, Event, PeerChange, PrivateKey, PublicKey

KEPT = 16_384
"""As documented."""


@pytest.fixture(params=[1, 2])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    with Device(interface_name(), workers=request.param) as device:
        assert device.events(0) == []
        yield device


def make_key() -> PublicKey:
    return PrivateKey.generate().public_key()


def summary(event: Event) -> tuple[str, str, str]:
    return event.kind, event.cause, str(event.public_key)


def test_changes_by_whomever_are_told_once(device: Device) -> None:
    key = make_key()
    device.set(peers=[PeerChange(key, endpoint=("192.0.2.1", 7))])
    (event,) = device.events(60)
    assert summary(event) == ("added", "configuration", str(key))
    assert (event.endpoint, event.previous_endpoint) == (("192.0.2.1", 7), None)
    assert abs(event.at - time.time()) < 60
    assert repr(event) == f'Event(kind="added", public_key="{key}")'
    device.set(peers=[PeerChange(key, endpoint=("192.0.2.1", 7))])
    wg = ["wg", "set", device.name, "peer", str(key)]
    subprocess.run([*wg, "allowed-ips", "10.0.0.0/8"], check=True)
    subprocess.run([*wg, "remove"], check=True)
    told = [summary(event)[0] for event in (*device.events(60), *device.events(0))]
    assert told == ["changed", "removed"]


def test_waiting_ends_in_time_or_with_an_event(device: Device) -> None:
    started = time.monotonic()
    assert device.events(0.25) == []
    assert 0.25 <= time.monotonic() - started < 60
    told: list[Event] = []
    reader = Thread(target=lambda: told.extend(device.events()))
    reader.start()
    device.set(peers=[PeerChange(make_key())])
    reader.join(60)
    assert [event.kind for event in told] == ["added"]


def test_of_too_many_the_oldest_are_lost_and_counted(device: Device) -> None:
    keys = [make_key() for _ in range(KEPT + 10)]
    device.set(peers=[PeerChange(key) for key in keys])
    events = device.events(60)
    assert len(events) == KEPT
    assert [event.lost for event in events[:2]] == [10, 0]
    device.set(replace_peers=True)
    assert device.events(60)[0].lost == 10


def test_the_end_of_the_device_ends_the_reader(device: Device) -> None:
    device.set(peers=[PeerChange(make_key())])
    device.close()
    assert [event.kind for event in device.events()] == ["added"]
    with pytest.raises(DeviceError, match="the device has ended: closed"):
        device.events()


def test_ctrl_c_interrupts() -> None:
    code = f"""
from wgbind import Device
with Device({interface_name()!r}, control_socket=False) as device:
    print("ready", flush=True)
    device.events()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as reader:
        try:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            reader.send_signal(signal.SIGINT)
            _, said = reader.communicate(timeout=60)
        finally:
            reader.kill()
    assert "KeyboardInterrupt" in said
