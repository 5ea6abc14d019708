"""Calls for asyncio, by httpx."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from wgbind.api.connection import IDLE_SECONDS, TIMEOUT_SECONDS, Answer, unanswered, unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wgbind.api.connection import Gate


def async_client(gate: Gate) -> httpx.AsyncClient:
    """Make a client; it connects with the first call. Raises as `Gate.tls` does."""
    transport = httpx.AsyncHTTPTransport(
        # Without TLS there is nobody to verify, and to read the system's certificates takes longer
        # than a call.
        verify=gate.tls() or False,
        uds=None if gate.path is None else str(gate.path),
        trust_env=False,
        limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS),
    )
    return httpx.AsyncClient(
        transport=transport,
        base_url=gate.url,
        headers=gate.headers,
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
    )


@contextmanager
def http_errors(gate: Gate) -> Iterator[None]:
    """Turn what httpx raises into `UnreachableError`, `StateError` and `PrivilegeError`."""
    try:
        yield
    except httpx.ConnectError as error:
        raise unreachable(gate, _os_error(error)) from error
    except httpx.HTTPError as error:
        raise unanswered(gate, error) from error


def answer_of(response: httpx.Response) -> Answer:
    """Return what was read."""
    return Answer(response.status_code, response.content, response.headers)


def _os_error(error: BaseException | None) -> OSError | None:
    """Return what the system said."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
