"""The way to a running server's API, and what can go wrong on it."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from pydantic import ValidationError

from wgbind.api.outcome import STALE, Failure, StaleError
from wgbind.errors import InputError, PrivilegeError, StateError, WgbindError
from wgbind.settings.address import Endpoint
from wgbind.settings.api import parse_token, read_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wgbind.api.call import Call

# So long a server may be silent that sends events, or is to be connected to.
_TIMEOUT_SECONDS = 60
# Shorter than the server keeps an idle connection, so that it is never just being closed.
_IDLE_SECONDS = 30


_VERSIONS = "it may be of another version of wgbind: stop and start it, or update this one"

_Answer = TypeVar("_Answer")


class UnreachableError(StateError):
    """Nobody listens: the server starts, stops, or is dead. Nothing was sent."""


@dataclass(frozen=True)
class Gate:
    """Where a server's API is, and what it takes to get in.

    Attributes:
        path: The Unix socket; None for TCP.
        url: "https://HOST:PORT".
        token: What a TCP listener wants to see.
        authorities: A file of certificates to trust, in place of the system's.
    """

    path: Path | None = None
    url: str = "http://wgbind"
    token: str | None = field(default=None, repr=False)
    authorities: Path | None = None

    @classmethod
    def of_url(
        cls, url: str, *, token: str | None, token_file: Path | None, authorities: Path | None
    ) -> Gate:
        """Check what was given for a server on TCP.

        Raises `InputError` for another URL than "https://HOST:PORT" and for a token that is
        missing or given twice, and as `read_token` does.
        """
        # The token goes with every call: nobody on the way may read it, hence no plain HTTP.
        scheme, _, rest = url.partition("://")
        place = rest.rstrip("/")
        try:
            found = Endpoint.parse(place)
        except InputError:
            found = None
        if scheme != "https" or found is None or found.port is None:
            # It is not shown: a token may be in it.
            raise InputError("URL of a server: write https://HOST:PORT, and no token in it")
        if (token is None) == (token_file is None):
            raise InputError("token: give it, or the file that it is in")
        shown = parse_token(token, "token") if token_file is None else read_token(token_file)
        return cls(None, f"https://{place}", shown, authorities)

    def client(self) -> httpx.Client:
        """Make a client; it connects with the first call."""
        transport = httpx.HTTPTransport(**self._transport_options())
        return httpx.Client(transport=transport, **self._options())

    def async_client(self) -> httpx.AsyncClient:
        """Likewise, for asyncio."""
        transport = httpx.AsyncHTTPTransport(**self._transport_options())
        return httpx.AsyncClient(transport=transport, **self._options())

    def _options(self) -> dict[str, Any]:
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        return {
            "base_url": self.url,
            "headers": headers,
            "timeout": _TIMEOUT_SECONDS,
            "trust_env": False,
        }

    def _transport_options(self) -> dict[str, Any]:
        limits = httpx.Limits(keepalive_expiry=_IDLE_SECONDS)
        if self.path is not None:
            # Without TLS there is nobody to verify, and to read the system's certificates takes
            # longer than a call.
            return {"uds": str(self.path), "verify": False, "limits": limits}
        try:
            context = ssl.create_default_context(cafile=self.authorities)
        except OSError as error:  # of which `ssl.SSLError` is one
            raise InputError(
                f"{self.authorities}: no certificates can be read from it: {error.strerror}"
            ) from None
        return {"verify": context, "trust_env": False, "limits": limits}

    def __str__(self) -> str:
        return self.url if self.path is None else str(self.path)


@contextmanager
def http_errors(gate: Gate) -> Iterator[None]:
    """Turn what httpx raises into `UnreachableError`, `StateError` and `PrivilegeError`."""
    try:
        yield
    except httpx.ConnectError as error:
        cause = _os_error(error)
        if isinstance(cause, PermissionError):
            raise PrivilegeError(
                f"{gate}: you may not use this control socket; run as root, or let the settings "
                "name you in api.socket_users"
            ) from error
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise PrivilegeError(
                f"{gate}: its certificate is not to be trusted ({cause.verify_message}); name the "
                "file of its authority"
            ) from error
        raise UnreachableError(f"nobody listens on {gate}") from error
    except httpx.HTTPError as error:
        reason = (
            f"the server does not answer on {gate} ({error or type(error).__name__}); whether a "
            "change was made is not known; see its log"
        )
        raise StateError(reason) from error


def read(gate: Gate, what: Call[_Answer], answer: httpx.Response) -> _Answer:
    """Read the answer to a call; raise what the server raised."""
    if not answer.is_success:
        raise failure(gate, answer)
    try:
        return what.parse(answer.content, answer.headers)
    except ValidationError:
        # It shows what was answered, secrets too.
        raise StateError(f"{gate}: its answer is not understood; {_VERSIONS}") from None


def failure(gate: Gate, answer: httpx.Response) -> WgbindError:
    """Make the error again that an answer without success tells of."""
    try:
        told = Failure.model_validate_json(answer.content)
        return StaleError(told.message) if answer.status_code == STALE else told.revive()
    except ValueError:
        hint = _VERSIONS if answer.status_code in {404, 405} else "see its log"
        return StateError(f"the server answered {answer.status_code} on {gate}; {hint}")


def _os_error(error: BaseException | None) -> OSError | None:
    """Return what the system said."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
