"""Calls to a server that another process runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from wgbind.api.firewall import FirewallReport
from wgbind.api.outcome import Converged, Failure
from wgbind.api.status import ServerStatus
from wgbind.errors import StateError, revive

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

# Converging ten thousand peers takes seconds; a server that takes longer is stuck.
_TIMEOUT_SECONDS = 60


class UnreachableError(StateError):
    """Nobody listens on the control socket: the server starts, stops, or is dead."""


class Client:
    """A connection to a running server's control socket; close it, or use it in `with`.

    Every call raises what the server raised, `UnreachableError` if nobody listens, and `StateError`
    if the server does not answer.

    Args:
        control_socket: Path of the Unix socket.
    """

    def __init__(self, control_socket: Path) -> None:
        self._path = control_socket
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(control_socket)),
            base_url="http://wgbind",
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
        )

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
        try:
            answer = self._http.request(method, path)
        except httpx.ConnectError as error:
            raise UnreachableError(f"nobody listens on {self._path}") from error
        except httpx.HTTPError as error:
            reason = f"the server does not answer on {self._path} ({error}); see its log"
            raise StateError(reason) from error
        if answer.is_success:
            return answer.content
        try:
            failure = Failure.model_validate_json(answer.content)
        except ValueError:
            raise StateError(
                f"the server answered {answer.status_code} on {self._path}; see its log"
            ) from None
        raise revive(failure.error, failure.message)
