"""Fixtures of the tests of addresses, routes, forwarding and firewall."""

from collections.abc import Iterator

import pytest

from net.host import Host


@pytest.fixture
def host() -> Iterator[Host]:
    """A host of its own, with loopback only."""
    with Host() as namespace:
        yield namespace
