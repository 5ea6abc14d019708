"""Handles to running servers, by name on this host or by URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wgbind.api.connection import Gate
from wgbind.api.remote import RemoteServer
from wgbind.errors import InputError
from wgbind.settings.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path

    from wgbind.api.remote_async import AsyncServer


def connect(
    where: str = "wg0",
    *,
    paths: Paths | None = None,
    token: str | None = None,
    token_file: Path | None = None,
    authorities: Path | None = None,
) -> RemoteServer:
    """Connect to a running server; close the handle, best by `with`.

    Args:
        where: The interface of a server on this host, or "https://HOST:PORT", where the settings
            of one say `api.listen`.
        paths: The files of the server on this host; None takes the folders from the environment.
        token: For a URL: the token that the server wants to see.
        token_file: The file that it is in, instead; mode 0600.
        authorities: For a URL: a file of certificates (PEM) to trust in place of the system's.

    Raises:
        InputError: what was given is wrong.
        StateError: nobody listens there.
        PrivilegeError: you may not, the token is wrong, or the certificate is not to be trusted.
    """
    gate = _gate(where, paths, token, token_file, authorities)
    server = RemoteServer(gate, "" if gate.path is None else where)
    try:
        server.name = server.info().name
    except BaseException:
        server.close()
        raise
    return server


def connect_async(
    where: str = "wg0",
    *,
    paths: Paths | None = None,
    token: str | None = None,
    token_file: Path | None = None,
    authorities: Path | None = None,
) -> AsyncServer:
    """Return a handle for asyncio, which `async with` connects; otherwise as `connect`."""
    from wgbind.api.remote_async import AsyncServer  # with a client that takes its time

    gate = _gate(where, paths, token, token_file, authorities)
    return AsyncServer(gate, "" if gate.path is None else where)


def _gate(
    where: str,
    paths: Paths | None,
    token: str | None,
    token_file: Path | None,
    authorities: Path | None,
) -> Gate:
    if "://" in where:
        if paths is not None:
            raise InputError("paths: they are of a server on this host; leave them out with a URL")
        return Gate.of_url(where, token=token, token_file=token_file, authorities=authorities)
    if token is not None or token_file is not None or authorities is not None:
        raise InputError("token and authorities: they are for a URL; leave them out with a name")
    return Gate(Paths.of(where).control_socket if paths is None else paths.control_socket)
