"""Fixtures of the floods."""

from collections.abc import Iterator

import pytest

from floods.siege import Siege, siege


@pytest.fixture(scope="module")
def hosts() -> Iterator[Siege]:
    """A server with a friend and an enemy: one for all tests of a module."""
    with siege() as built:
        yield built
