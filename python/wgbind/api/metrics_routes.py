"""The page that Prometheus reads, at the path where it looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Response

from wgbind.api.outcome import FAILURES

if TYPE_CHECKING:
    from wgbind.api.node import Node


def metrics_routes(node: Node) -> APIRouter:
    """Build the route that answers for `node`."""
    routes = APIRouter(tags=["metrics"], responses=FAILURES)

    @routes.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    def metrics() -> Response:
        """Describe the server and its peers in Prometheus' text format."""
        # Imported when the first asks: few servers are asked, and it costs memory.
        from wgbind.api.metrics import CONTENT_TYPE, exposition

        return Response(exposition(node.status()), media_type=CONTENT_TYPE)

    return routes
