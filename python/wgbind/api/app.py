"""The HTTP face of a running server."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from wgbind.api.apply_routes import apply_routes
from wgbind.api.metrics_routes import metrics_routes
from wgbind.api.node import Node
from wgbind.api.outcome import STALE, Failure, StaleError, input_error
from wgbind.api.peer_routes import peer_routes
from wgbind.api.server_routes import server_routes
from wgbind.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    PrivilegeError,
    StateError,
    WgbindError,
)

_HTTP_STATUS = {
    StaleError: STALE,
    InputError: 422,
    NotFoundError: 404,
    ConflictError: 409,
    StateError: 409,
    PrivilegeError: 403,
}
_DESCRIPTION = """\
One running server: its state, its peers, what happens to them. Every answer without success is a
`Failure`, with the class of the exception that the Python library raises. Who reaches this may do
all of it."""


def make_app(node: Node) -> FastAPI:
    """Build the application that answers for `node`."""
    app = FastAPI(
        title="wgbind",
        version="1",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        # One form of each answer, whoever asks and whatever proxy stands before it.
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    for routes in (server_routes(node), peer_routes(node), apply_routes(node)):
        app.include_router(routes, prefix="/v1")
    app.include_router(metrics_routes(node))

    @app.exception_handler(WgbindError)
    def fail(_request: Request, error: WgbindError) -> JSONResponse:
        status = next((code for kind, code in _HTTP_STATUS.items() if isinstance(error, kind)), 500)
        return failed(error, status)

    @app.exception_handler(RequestValidationError)
    def refuse(_request: Request, error: RequestValidationError) -> JSONResponse:
        return failed(input_error(error.errors()), 422)

    @app.exception_handler(HTTPException)
    def misdirected(request: Request, error: HTTPException) -> JSONResponse:
        """Answer for Starlette and FastAPI: no such path, method or JSON."""
        phrase = HTTPStatus(error.status_code).phrase.lower()
        kind = NotFoundError if error.status_code == HTTPStatus.NOT_FOUND else InputError
        answer = failed(kind(f"{request.method} {request.url.path}: {phrase}"), error.status_code)
        answer.headers.update(error.headers or {})
        return answer

    return app


def failed(error: WgbindError, status: int) -> JSONResponse:
    """Make the answer that tells of an error."""
    return JSONResponse(Failure.of(error).model_dump(), status)
