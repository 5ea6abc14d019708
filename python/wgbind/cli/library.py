"""The library, opened for a command when the command runs: its imports take their time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wgbind.server.server import Server


def open_server(name: str) -> Server:
    """Return the server `name`; what the library logs as a warning goes to standard error."""
    from wgbind.server.server import Server

    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    return Server(name)
