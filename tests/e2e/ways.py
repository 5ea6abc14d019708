"""The ways to a server: in its process, beside it, from afar, for asyncio, and on its files."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from harness import Api
from wgbind import AsyncServer, Server, ServerHandle, Transaction, connect, connect_async

WAYS = ["in-process", "unix", "tcp", "asyncio", "stopped"]


class Awaited:
    """An asynchronous handle, or its peers, that a loop waits for: as if it were synchronous."""

    def __init__(self, inner: Any, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._inner = inner
        self._run = run

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "peers":
            return Awaited(found, self._run)
        return (
            (lambda *args, **named: self._run(found(*args, **named))) if callable(found) else found
        )

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        block = self._inner.transaction()
        transaction = self._run(block.__aenter__())
        try:
            yield transaction
        except BaseException as error:
            self._run(block.__aexit__(type(error), error, error.__traceback__))
            raise
        self._run(block.__aexit__(None, None, None))


@contextmanager
def awaited(handle: AsyncServer) -> Iterator[Any]:
    loop = asyncio.new_event_loop()
    try:
        server = loop.run_until_complete(handle.__aenter__())
        yield Awaited(server, loop.run_until_complete)
        loop.run_until_complete(handle.__aexit__(None, None, None))
    finally:
        loop.close()


@contextmanager
def by(way: str, api: Api, stopped: Server) -> Iterator[ServerHandle]:
    paths = api.server.paths
    if way == "in-process":
        yield api.server
    elif way == "unix":
        with connect(paths.name, paths=paths) as remote:
            yield remote
    elif way == "tcp":
        with connect(api.url, token=api.token, authorities=api.certificate) as remote:
            yield remote
    elif way == "asyncio":
        with awaited(connect_async(paths.name, paths=paths)) as waiting:
            yield waiting
    else:
        yield stopped
