"""The events of a running server, one after the other, for a loop or for asyncio."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING

from wgbind.api.connection import connect, connect_async, failure, http_errors
from wgbind.api.event_source import decode

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from wgbind.api.event import PeerEvent

_CALL = ("GET", "/v1/events")


class EventStream:
    """An iterator over what happens to peers from now on; it ends when the server stops.

    Close it, or use it in `with`. Making it and iterating raise `UnreachableError` if nobody
    listens and `StateError` if the server is gone without a word.

    Args:
        control_socket: Path of the server's Unix socket.
    """

    def __init__(self, control_socket: Path) -> None:
        self._path = control_socket
        with ExitStack() as undo, http_errors(control_socket):
            http = undo.enter_context(connect(control_socket))
            answer = undo.enter_context(http.stream(*_CALL))
            if not answer.is_success:
                answer.read()
                raise failure(control_socket, answer)
            self._lines = answer.iter_lines()
            next(self._lines, None)  # a comment: the server has begun to listen
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Hang up. A second call does nothing."""
        self._undo.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> PeerEvent:
        with http_errors(self._path):
            for line in self._lines:
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


class AsyncEventStream:
    """An `EventStream` for asyncio: `async with` listens, `async for` takes.

    Args:
        control_socket: Path of the server's Unix socket.
    """

    def __init__(self, control_socket: Path) -> None:
        self._path = control_socket
        self._undo = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as undo:
            with http_errors(self._path):
                http = await undo.enter_async_context(connect_async(self._path))
                answer = await undo.enter_async_context(http.stream(*_CALL))
                if not answer.is_success:
                    await answer.aread()
                    raise failure(self._path, answer)
                self._lines = answer.aiter_lines()
                await anext(self._lines, None)
            self._undo = undo.pop_all()
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> PeerEvent:
        with http_errors(self._path):
            async for line in self._lines:
                if (event := decode(line)) is not None:
                    return event
        raise StopAsyncIteration

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._undo.aclose()
