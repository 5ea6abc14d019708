"""Calls to a server that another process runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wgbind.api.connection import connect, failure, http_errors
from wgbind.api.event_stream import EventStream
from wgbind.api.firewall import FirewallReport
from wgbind.api.outcome import Converged
from wgbind.api.status import ServerStatus

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self


class Client:
    """A connection to a running server's control socket; close it, or use it in `with`.

    Every call raises what the server raised, `UnreachableError` if nobody listens, and `StateError`
    if the server does not answer.

    Args:
        control_socket: Path of the Unix socket.
    """

    def __init__(self, control_socket: Path) -> None:
        self._path = control_socket
        self._http = connect(control_socket)

    def status(self) -> ServerStatus:
        """Read the server's state."""
        return ServerStatus.model_validate_json(self._call("GET", "/v1/status"))

    def firewall(self) -> FirewallReport:
        """Read the rules in force."""
        return FirewallReport.model_validate_json(self._call("GET", "/v1/firewall"))

    def converge(self) -> tuple[str, ...]:
        """Let it apply what the store says now; return the problems that are left."""
        return Converged.model_validate_json(self._call("POST", "/v1/converge")).problems

    def reload(self) -> tuple[str, ...]:
        """Let it read its settings again and apply them; return the problems that are left."""
        return Converged.model_validate_json(self._call("POST", "/v1/reload")).problems

    def events(self) -> EventStream:
        """Listen to what happens to its peers, on a connection of its own."""
        return EventStream(self._path)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, method: str, path: str) -> bytes:
        with http_errors(self._path):
            answer = self._http.request(method, path)
        if not answer.is_success:
            raise failure(self._path, answer)
        return answer.content
