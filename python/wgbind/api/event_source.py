"""What is broadcast, as a stream of server-sent events."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from wgbind.api.event_line import encode_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wgbind.api.broadcast import Broadcast

# A comment so often shows each end that the other one is there.
_HEARTBEAT_SECONDS = 15


async def encode(broadcast: Broadcast) -> AsyncIterator[str]:
    """Write what is broadcast from now on; a comment comes first, when it listens."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()

    def wake() -> None:
        # A loop that is closed has nobody to wake.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(arrived.set)

    with broadcast.subscribe(wake) as subscription:
        yield ": listening\n\n"
        while True:
            ended = subscription.ended  # first: all that was told before the end is there to take
            if taken := subscription.take():
                yield "".join(map(encode_event, taken))
            if ended:
                return
            try:
                await asyncio.wait_for(arrived.wait(), _HEARTBEAT_SECONDS)
            except asyncio.TimeoutError:
                yield ": alive\n\n"
            arrived.clear()
