"""HTTP connections that are asked who they are, and may not dawdle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from wgbind.api.outcome import Failure
from wgbind.errors import PrivilegeError

if TYPE_CHECKING:
    import asyncio

    from wgbind.api.access import Access

# A request has to be here, whole, so long after its connection was made or its first byte came.
REQUEST_SECONDS = 15

_REASON = Failure.of(
    PrivilegeError(
        "you may not use this socket; run as root, or be one of the settings' api.socket_users"
    )
).model_dump_json()
_REFUSAL = (
    "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nconnection: close\r\n"
    f"content-length: {len(_REASON)}\r\n\r\n{_REASON}"
).encode("ascii")


class Protocol(H11Protocol):
    """One connection. A caller that never finishes its request is hung up on.

    What waits costs nobody else anything: connections have no threads.
    """

    access: Access | None = None
    """Whom a Unix socket admits; None admits all, for the token decides."""

    _deadline: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask the kernel who called; hang up at once on who may not, so that it takes no room."""
        super().connection_made(transport)
        if self.access is None or self.access.admits(transport.get_extra_info("socket")):
            self._set_deadline()
        else:
            self._refused = True
            transport.write(_REFUSAL)
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        if self._refused:
            return
        super().data_received(data)
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self._set_deadline()
        else:
            self._clear_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end."""
        self._clear_deadline()
        super().connection_lost(exc)

    def _set_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def protocol_for(access: Access | None) -> type[Protocol]:
    """Return the protocol of a listener that admits those."""
    return type("Protocol", (Protocol,), {"access": access})
