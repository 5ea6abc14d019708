"""What a call has to pass before the application sees it: its size, and its token."""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from wgbind.api.outcome import Failure
from wgbind.errors import InputError, PrivilegeError, WgbindError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A hundred thousand peers to be added, with all their fields.
MAX_BODY_BYTES = 64 * 1024 * 1024


class BodyLimit:
    """Refuses requests that are too large, before they fill the memory."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a call (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if int(declared) > self._limit:  # h11 has seen to it that it is a number
            await self._refuse(send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                # The application makes an answer of this, wherever it reads.
                raise HTTPException(413, headers={"connection": "close"})
            return message

        await self._app(scope, limited, send)

    async def _refuse(self, send: Send) -> None:
        reason = f"the body is larger than {self._limit} bytes; ask for less at once"
        await answer(send, 413, InputError(reason))


class TokenGuard:
    """Lets pass who shows the token (RFC 6750), and nobody else."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a call (ASGI)."""
        shown = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                shown = value
        # In a time that tells nothing of how much of it is right.
        if hmac.compare_digest(shown, self._expected):
            await self._app(scope, receive, send)
        else:
            reason = "the token is missing or wrong; it is in the server's file api.token_file"
            await answer(send, 401, PrivilegeError(reason), (b"www-authenticate", b"Bearer"))


async def answer(
    send: Send, status: int, error: WgbindError, *headers: tuple[bytes, bytes]
) -> None:
    """Tell of an error, and hang up: the rest of the request is not read."""
    body = json.dumps(Failure.of(error).model_dump()).encode()
    start = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
