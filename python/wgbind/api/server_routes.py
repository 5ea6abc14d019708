"""The calls about the server itself."""

from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from wgbind.api import event_source
from wgbind.api.event import PeerEvent
from wgbind.api.firewall import FirewallReport
from wgbind.api.node import Node
from wgbind.api.outcome import FAILURES, Converged
from wgbind.api.status import ServerInfo, ServerStatus

EndpointName: TypeAlias = Annotated[
    str | None, Query(description="One of client.endpoints in the settings, by its name.")
]

_STREAM = {"type": "string", "contentSchema": PeerEvent.model_json_schema()}


def _as_json(told: dict[str, Any]) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Failure"}
    return {
        "description": told["description"],
        "content": {"application/json": {"schema": schema}},
    }


class _EventStream(StreamingResponse):
    media_type = "text/event-stream"


def server_routes(node: Node) -> APIRouter:
    """Build the routes that answer for `node`."""
    routes = APIRouter(tags=["server"], responses=FAILURES)

    @routes.get("")
    def info(endpoint: EndpointName = None) -> ServerInfo:
        """Say who answers."""
        return node.info(endpoint)

    @routes.get("/status")
    def status() -> ServerStatus:
        """Describe the server and all its peers."""
        return node.status()

    @routes.get("/firewall")
    def firewall() -> FirewallReport:
        """Describe the rules in force."""
        return node.firewall()

    @routes.get(
        "/events",
        response_class=_EventStream,
        responses={
            200: {"content": {"text/event-stream": {"schema": _STREAM}}},
            # FastAPI would say that these are event streams, too.
            **{status: _as_json(told) for status, told in FAILURES.items()},
        },
    )
    async def events() -> _EventStream:
        """Send each event that happens from now on as server-sent event of JSON."""
        return _EventStream(event_source.encode(node.events))

    @routes.post("/converge")
    def converge() -> Converged:
        """Apply what the store says now."""
        return Converged(problems=node.converge())

    @routes.post("/reload")
    def reload() -> Converged:
        """Read the settings again and apply them; a mistake in them changes nothing."""
        return Converged(problems=node.reload())

    return routes
