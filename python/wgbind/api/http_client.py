"""Calls that block, by the standard library: to import a larger client takes as long as a call."""

from __future__ import annotations

import select
import socket
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from wgbind.api.connection import (
    IDLE_SECONDS,
    TIMEOUT_SECONDS,
    Answer,
    unanswered,
    unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from http.client import HTTPResponse
    from pathlib import Path

    from wgbind.api.call import Call
    from wgbind.api.connection import Gate


_Answer = TypeVar("_Answer")


class HttpClient:
    """Connections to a server, which go on being used; for any thread.

    Args:
        gate: Where its API is. Raises `InputError` if the certificates to trust cannot be read.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._tls = gate.tls()
        self._lock = Lock()
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._closed = False

    def request(self, what: Call[_Answer]) -> Answer:
        """Make a call; raises `UnreachableError`, `StateError` and `PrivilegeError`."""
        connection = self._connection(what.patience)
        try:
            with answering(self._gate):
                body = None if what.body is None else what.body.encode()
                headers = {**self._gate.headers, **what.headers}
                response = _asked(connection, what.method, what.path, body, headers)
                answer = Answer(response.status, response.read(), headers_of(response))
        except BaseException:
            connection.close()
            raise
        if not response.will_close:
            self._keep(connection)
        return answer

    def open(self, path: str) -> tuple[HTTPConnection, HTTPResponse]:
        """Ask for what comes bit by bit, on a connection for that alone; the caller closes it."""
        connection = self._made(TIMEOUT_SECONDS)
        try:
            with answering(self._gate):
                return connection, _asked(connection, "GET", path, None, self._gate.headers)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close what nobody uses at the moment; the rest follows when it is done."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _connection(self, patience: float) -> HTTPConnection:
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection, since = self._idle.pop()
            if monotonic() - since < IDLE_SECONDS and not _is_readable(connection.sock):
                connection.sock.settimeout(patience)
                return connection
            connection.close()  # the server has closed it, or is about to
        return self._made(patience)

    def _made(self, patience: float) -> HTTPConnection:
        connection: HTTPConnection
        if self._gate.path is not None:
            connection = _UnixConnection(self._gate.path, patience)
        else:
            place = urlsplit(self._gate.url)
            connection = HTTPSConnection(
                place.hostname or "", place.port, timeout=patience, context=self._tls
            )
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise unreachable(self._gate, error) from error
        return connection

    def _keep(self, connection: HTTPConnection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append((connection, monotonic()))
                return
        connection.close()


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("wgbind", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the path in place of the host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _asked(
    connection: HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> HTTPResponse:
    # A server that refuses whoever calls has said so, and hung up, before it has all.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, path, body, headers)
    return connection.getresponse()


@contextmanager
def answering(gate: Gate) -> Iterator[None]:
    """Turn what goes wrong on a connection that stood into `StateError`."""
    try:
        yield
    except (OSError, HTTPException) as error:
        raise unanswered(gate, error) from error


def headers_of(response: HTTPResponse) -> dict[str, str]:
    """Return an answer's headers; their names are in lower case."""
    return {name.lower(): value for name, value in response.getheaders()}


def _is_readable(connection: socket.socket) -> bool:
    """Whether there is something that nobody asked for: the end."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
