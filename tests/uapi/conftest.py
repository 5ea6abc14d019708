"""Fixtures of the conformance tests: each test runs on both programs."""

from collections.abc import Iterator

import pytest

from net.host import Host
from uapi.device import IMPLEMENTATIONS, Device, running


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def implementation(request: pytest.FixtureRequest) -> str:
    """The program under test, and the one that the test is held against."""
    return str(request.param)


@pytest.fixture(scope="module")
def shared_device(implementation: str) -> Iterator[Device]:
    """One device for all tests of a module."""
    with Host("uapi") as host, running(host, implementation) as device:
        yield device


@pytest.fixture
def device(shared_device: Device) -> Device:
    """A device without key and peers."""
    shared_device.reset()
    return shared_device
