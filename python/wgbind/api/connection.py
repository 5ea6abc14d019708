"""The way to a running server's API, and what can go wrong on it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from wgbind.api.outcome import STALE, Failure, StaleError
from wgbind.errors import InputError, PrivilegeError, StateError, WgbindError
from wgbind.settings.address import Endpoint
from wgbind.settings.api import parse_token, read_token

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wgbind.api.call import Call

# So long a server may be silent that sends events, or is to be connected to.
TIMEOUT_SECONDS = 60
# Shorter than the server keeps an idle connection, so that it is never just being closed.
IDLE_SECONDS = 30

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

    @property
    def headers(self) -> dict[str, str]:
        """What goes with every call."""
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    def tls(self) -> ssl.SSLContext | None:
        """Read whom to trust; None without TLS. Raises `InputError`."""
        if self.path is not None:
            return None
        try:
            return ssl.create_default_context(cafile=self.authorities)
        except OSError as error:  # of which `ssl.SSLError` is one
            raise InputError(
                f"{self.authorities}: no certificates can be read from it: {error.strerror}"
            ) from None

    def __str__(self) -> str:
        return self.url if self.path is None else str(self.path)


@dataclass(frozen=True)
class Answer:
    """What the server said.

    Attributes:
        status: HTTP's.
        content: The body.
        headers: Their names are in lower case.
    """

    status: int
    content: bytes = field(repr=False)
    headers: Mapping[str, str]

    @property
    def is_success(self) -> bool:
        """Whether it did what was asked for."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


def unreachable(gate: Gate, cause: OSError | None) -> WgbindError:
    """Say why a connection could not be made; `cause` is what the system said."""
    if isinstance(cause, PermissionError):
        return PrivilegeError(
            f"{gate}: you may not use this control socket; run as root, or let the settings "
            "name you in api.socket_users"
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return PrivilegeError(
            f"{gate}: its certificate is not to be trusted ({cause.verify_message}); name the "
            "file of its authority"
        )
    return UnreachableError(f"nobody listens on {gate}")


def unanswered(gate: Gate, error: Exception) -> StateError:
    """Say that a call was sent, or a part of it, and what came of it is not known."""
    return StateError(
        f"the server does not answer on {gate} ({error or type(error).__name__}); whether a "
        "change was made is not known; see its log"
    )


def read(gate: Gate, what: Call[_Answer], answer: Answer) -> _Answer:
    """Read the answer to a call; raise what the server raised."""
    if not answer.is_success:
        raise failure(gate, answer)
    try:
        return what.parse(answer.content, answer.headers)
    except ValidationError:
        # It shows what was answered, secrets too.
        raise StateError(f"{gate}: its answer is not understood; {_VERSIONS}") from None


def failure(gate: Gate, answer: Answer) -> WgbindError:
    """Make the error again that an answer without success tells of."""
    try:
        told = Failure.model_validate_json(answer.content)
        return StaleError(told.message) if answer.status == STALE else told.revive()
    except ValueError:
        hint = _VERSIONS if answer.status in {404, 405} else "see its log"
        return StateError(f"the server answered {answer.status} on {gate}; {hint}")
