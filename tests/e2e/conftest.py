"""Servers to be asked by each way to them."""

from collections.abc import Iterator

import pytest

from harness import Api, make_server, running_api
from wgbind import Server


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server in this process, and the ways to its API: one for all tests of a module."""
    with running_api(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that does not run."""
    return make_server(tmp_path_factory.mktemp("stopped"))
