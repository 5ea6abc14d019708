"""Fixtures of the scenarios."""

from collections.abc import Iterator

import pytest

from netns.middle import Middle, middle


@pytest.fixture
def hosts() -> Iterator[Middle]:
    """Two interfaces whose sockets are in a third host."""
    with middle() as built:
        yield built
