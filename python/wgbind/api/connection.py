"""The way to a running server's control socket, and what can go wrong on it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypedDict

import httpx

from wgbind.api.outcome import Failure
from wgbind.errors import StateError, WgbindError, revive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Converging ten thousand peers takes seconds; a server that takes longer is stuck.
_TIMEOUT_SECONDS = 60


class UnreachableError(StateError):
    """Nobody listens on the control socket: the server starts, stops, or is dead."""


class _Options(TypedDict):
    base_url: str
    timeout: float
    trust_env: bool


_OPTIONS = _Options(base_url="http://wgbind", timeout=_TIMEOUT_SECONDS, trust_env=False)


def connect(control_socket: Path) -> httpx.Client:
    """Make a client for that Unix socket; it connects with the first call."""
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(control_socket)), **_OPTIONS)


def connect_async(control_socket: Path) -> httpx.AsyncClient:
    """Likewise, for asyncio."""
    transport = httpx.AsyncHTTPTransport(uds=str(control_socket))
    return httpx.AsyncClient(transport=transport, **_OPTIONS)


@contextmanager
def http_errors(control_socket: Path) -> Iterator[None]:
    """Turn what httpx raises into `UnreachableError` and `StateError`."""
    try:
        yield
    except httpx.ConnectError as error:
        raise UnreachableError(f"nobody listens on {control_socket}") from error
    except httpx.HTTPError as error:
        reason = f"the server does not answer on {control_socket} ({error}); see its log"
        raise StateError(reason) from error


def failure(control_socket: Path, answer: httpx.Response) -> WgbindError:
    """Make the error again that an answer without success tells of."""
    try:
        told = Failure.model_validate_json(answer.content)
    except ValueError:
        return StateError(
            f"the server answered {answer.status_code} on {control_socket}; see its log"
        )
    return revive(told.error, told.message)
