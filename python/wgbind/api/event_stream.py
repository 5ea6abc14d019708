"""The events of a running server, one after the other, for a loop."""

from __future__ import annotations

import socket
from collections import deque
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from wgbind.api.connection import Answer, failure
from wgbind.api.event_line import decode
from wgbind.api.http_client import HttpClient, answering, headers_of

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from wgbind.api.connection import Gate
    from wgbind.api.event import PeerEvent

PATH = "/v1/events"

_READ_BYTES = 1 << 16


class EventStream:
    """An iterator over what happens to peers from now on; it ends when the server stops.

    Close it, or use it in `with`. Making it and iterating raise `UnreachableError` if nobody
    listens and `StateError` if the server is gone without a word.

    Args:
        gate: Where the server's API is.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._connection, self._answer = HttpClient(gate).open(PATH)
        try:
            with answering(gate):
                self._require_success()
            self._line()  # a comment: the server has begun to listen
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up. A second call does nothing."""
        if self._connection.sock is not None:
            with suppress(OSError):  # who waits for the next event in another thread, wakes
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._answer.close()
        self._connection.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> PeerEvent:
        if self._answer.closed:
            raise StopIteration
        while (line := self._line()) is not None:
            if (event := decode(line)) is not None:
                return event
        self.close()
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _line(self) -> str | None:
        """Return the next line, None at the end."""
        while not self._lines:
            with answering(self._gate):
                # `readline` would take a connection that broke off for the end.
                part = self._answer.read1(_READ_BYTES)
            if not part:
                return None
            *lines, self._rest = (self._rest + part).split(b"\n")
            self._lines.extend(lines)
        return self._lines.popleft().decode()

    def _require_success(self) -> None:
        if self._answer.status != HTTPStatus.OK:
            content = self._answer.read()
            raise failure(
                self._gate, Answer(self._answer.status, content, headers_of(self._answer))
            )
