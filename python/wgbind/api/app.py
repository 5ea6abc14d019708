"""The HTTP face of a running server."""

from typing import Protocol

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from wgbind.api import event_source
from wgbind.api.broadcast import Broadcast
from wgbind.api.event import PeerEvent
from wgbind.api.firewall import FirewallReport
from wgbind.api.outcome import Converged, Failure
from wgbind.api.status import ServerStatus
from wgbind.errors import ConflictError, InputError, NotFoundError, StateError, WgbindError

_HTTP_STATUS = {InputError: 422, NotFoundError: 404, ConflictError: 409, StateError: 409}


class _EventStream(StreamingResponse):
    media_type = "text/event-stream"


class Node(Protocol):
    """What the API needs of a running server; each call may come from any thread."""

    @property
    def events(self) -> Broadcast:
        """What happens to its peers."""

    def status(self) -> ServerStatus:
        """Read its state."""

    def firewall(self) -> FirewallReport:
        """Read the rules in force."""

    def converge(self) -> tuple[str, ...]:
        """Bring the host to what the store says; return the problems that are left."""

    def reload(self) -> tuple[str, ...]:
        """Read the settings again, then converge. Raises `WgbindError`; nothing changed then."""


def make_app(node: Node) -> FastAPI:
    """Build the application that answers for `node`."""
    app = FastAPI(title="wgbind", docs_url=None, redoc_url=None)

    @app.get("/v1/status")
    def status() -> ServerStatus:
        return node.status()

    @app.get("/v1/firewall")
    def firewall() -> FirewallReport:
        return node.firewall()

    stream = {"type": "string", "contentSchema": PeerEvent.model_json_schema()}

    @app.get(
        "/v1/events",
        response_class=_EventStream,
        responses={200: {"content": {"text/event-stream": {"schema": stream}}}},
    )
    async def events() -> _EventStream:
        """Send each event that happens from now on as server-sent event of JSON."""
        return _EventStream(event_source.encode(node.events))

    @app.post("/v1/converge")
    def converge() -> Converged:
        return Converged(problems=node.converge())

    @app.post("/v1/reload")
    def reload() -> Converged:
        return Converged(problems=node.reload())

    @app.exception_handler(WgbindError)
    def fail(_request: Request, error: WgbindError) -> JSONResponse:
        status = next((code for kind, code in _HTTP_STATUS.items() if isinstance(error, kind)), 500)
        body = Failure(error=type(error).__name__, message=str(error))
        return JSONResponse(body.model_dump(), status)

    return app
