"""Fixtures that every test may use."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from harness import Network, Topology, leftovers, start_network

# Schemathesis needs Python 3.11.
collect_ignore = [] if sys.version_info >= (3, 11) else ["e2e/test_api_schema.py"]

# A loaded machine is slow at times; what has to be fast is measured where it matters.
settings.register_profile("wgbind", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wgbind")

# Who runs the tests in the background may have them ignore it, and all that they start, too.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_over() -> Iterator[None]:
    """Fail the run if its tests left a namespace, an interface, a socket or a process behind."""
    yield
    left = leftovers()
    assert not left, "the tests left behind: " + "; ".join(left)


@pytest.fixture
def topology() -> Iterator[Topology]:
    """Clients A and B, the server and a host behind it, each a namespace."""
    with Topology() as hosts:
        yield hosts


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A running server with A and B connected: one for all tests of a module."""
    with Topology() as hosts:
        yield start_network(hosts, tmp_path_factory.mktemp("network"))


@pytest.fixture
def private_dirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Give wgbind configuration, state and run-time folders of the test's own."""
    folders = {f"WGBIND_{kind.upper()}_DIR": tmp_path / kind for kind in ("config", "state", "run")}
    for variable, folder in folders.items():
        monkeypatch.setenv(variable, str(folder))
    return folders
