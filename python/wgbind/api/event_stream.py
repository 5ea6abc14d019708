"""The events of a running server, one after the other, for a loop or for asyncio."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING

from wgbind.api.connection import failure, http_errors
from wgbind.api.event_source import decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from typing_extensions import Self

    from wgbind.api.connection import Gate
    from wgbind.api.event import PeerEvent

_CALL = ("GET", "/v1/events")


class EventStream:
    """An iterator over what happens to peers from now on; it ends when the server stops.

    Close it, or use it in `with`. Making it and iterating raise `UnreachableError` if nobody
    listens and `StateError` if the server is gone without a word.

    Args:
        gate: Where the server's API is.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        with ExitStack() as undo, http_errors(gate):
            http = undo.enter_context(gate.client())
            answer = undo.enter_context(http.stream(*_CALL))
            if not answer.is_success:
                answer.read()
                raise failure(gate, answer)
            self._lines = answer.iter_lines()
            next(self._lines, None)  # a comment: the server has begun to listen
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Hang up. A second call does nothing."""
        self._undo.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> PeerEvent:
        with http_errors(self._gate):
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

    Without `async with`, it listens from the first event that is waited for.

    Args:
        gate: Where the server's API is.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._undo = AsyncExitStack()
        self._lines: AsyncIterator[str] | None = None

    async def aclose(self) -> None:
        """Hang up. A second call does nothing."""
        await self._undo.aclose()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> PeerEvent:
        lines = self._lines or await self._open()
        with http_errors(self._gate):
            async for line in lines:
                if (event := decode(line)) is not None:
                    return event
        await self.aclose()
        raise StopAsyncIteration

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _open(self) -> AsyncIterator[str]:
        async with AsyncExitStack() as undo:
            with http_errors(self._gate):
                http = await undo.enter_async_context(self._gate.async_client())
                answer = await undo.enter_async_context(http.stream(*_CALL))
                if not answer.is_success:
                    await answer.aread()
                    raise failure(self._gate, answer)
                lines = answer.aiter_lines()
                await anext(lines, None)
            self._undo = undo.pop_all()
        self._lines = lines
        return lines
