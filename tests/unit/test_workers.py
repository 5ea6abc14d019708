"""How many workers a device may have."""

import time
from contextlib import suppress
from pathlib import Path

import pytest

from wgbind._native import Device
from wgbind.errors import InputError


@pytest.mark.parametrize("workers", [-1, 0, 17])
def test_a_number_that_no_device_can_have_is_refused(workers: int) -> None:
    with pytest.raises(InputError, match=r"workers: .*give a whole number from 1 to 16"):
        Device("wgworkers", workers=workers)


def test_each_worker_is_a_thread() -> None:
    with Device("wgworkers", control_socket=False, workers=3) as device:
        device.set(listen_port=0, fwmark=7)
        status = device.status()
        assert status.listen_port != 0
        assert status.fwmark == 7
        assert workers() == ["worker 0 wgwork", "worker 1 wgwork", "worker 2 wgwork"]
    # Who waits for a thread's end is woken before the kernel has forgotten it.
    deadline = time.monotonic() + 60
    while workers():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def workers() -> list[str]:
    """Return the names of this process's worker threads; the kernel keeps 15 characters."""
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it ended while we looked
            names.append(path.read_text().strip())
    return sorted(name for name in names if name.startswith("worker "))
