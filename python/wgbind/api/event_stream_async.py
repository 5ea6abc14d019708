"""The events of a running server, one after the other, for asyncio."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from wgbind.api.connection import failure
from wgbind.api.event_line import decode
from wgbind.api.event_stream import PATH
from wgbind.api.http_async import answer_of, async_client, http_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from typing_extensions import Self

    from wgbind.api.connection import Gate
    from wgbind.api.event import PeerEvent


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
                http = await undo.enter_async_context(async_client(self._gate))
                answer = await undo.enter_async_context(http.stream("GET", PATH))
                if not answer.is_success:
                    await answer.aread()
                    raise failure(self._gate, answer_of(answer))
                lines = answer.aiter_lines()
                await anext(lines, None)
            self._undo = undo.pop_all()
        self._lines = lines
        return lines
