"""The OpenAPI document of the API, as it is published."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from wgbind.api.app import make_app

if TYPE_CHECKING:
    from wgbind.api.node import Node


def openapi_document() -> str:
    """Return the document as text (OpenAPI 3.1, JSON)."""
    # To describe the calls, none is made.
    return json.dumps(make_app(cast("Node", _Nobody())).openapi(), indent=2) + "\n"


class _Nobody:
    peers = None
