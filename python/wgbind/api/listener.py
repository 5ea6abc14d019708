"""Threads that serve the API: on its Unix socket, and by TLS on TCP."""

from __future__ import annotations

import os
import socket
import ssl
from ipaddress import ip_address
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING

import uvicorn

from wgbind.api.guard import BodyLimit, TokenGuard
from wgbind.api.protocol import protocol_for
from wgbind.errors import InputError, SettingsError, StateError
from wgbind.precedence import give_way
from wgbind.settings.files import exposure

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp

    from wgbind.api.access import Access
    from wgbind.settings.address import Endpoint

# sockaddr_un.sun_path holds 108 bytes with its terminating zero (unix(7)).
_PATH_BYTES = 107
_SHUTDOWN_SECONDS = 5
# Longer than a client of ours keeps an idle connection.
_IDLE_SECONDS = 75
# Who may not call at all shall not make the server hold more than this.
_MAX_CONNECTIONS = 512


class Listener:
    """A thread that answers on a socket, from `start` to `close`."""

    def __init__(
        self,
        app: ASGIApp,
        listening: socket.socket,
        name: str,
        *,
        access: Access | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._name = name
        self._socket = listening
        config = uvicorn.Config(
            BodyLimit(app),
            http=protocol_for(access),
            loop="asyncio",  # of others, not every one lets at a connection's socket
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        config.load()
        config.ssl = tls
        self._http = uvicorn.Server(config)
        self._thread = Thread(target=self._serve, args=[listening], name="wgbind-api", daemon=True)

    def start(self) -> None:
        """Return when it answers; raise `StateError` if it does not."""
        self._thread.start()
        while not self._http.started:
            if not self._thread.is_alive():
                raise StateError(f"{self._name}: its thread ended")
            sleep(0.005)

    def _serve(self, listening: socket.socket) -> None:
        give_way()
        self._http.run(sockets=[listening])

    def close(self) -> None:
        """Finish the calls under way, stop the thread and close the socket."""
        self._http.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()


class UnixListener(Listener):
    """The control socket.

    Args:
        app: What answers.
        path: The socket; one that is there already is taken for the rest of a dead server, so
            the caller must hold the server's lock.
        access: Who may call.

    Raises:
        InputError: its path is too long for a Unix socket.
        StateError: it cannot be opened.
    """

    def __init__(self, app: ASGIApp, path: Path, access: Access) -> None:
        if len(os.fsencode(path)) > _PATH_BYTES:
            raise InputError(
                f"control socket {path}: longer than {_PATH_BYTES} bytes;"
                " set WGBIND_RUN_DIR to a shorter folder"
            )
        self._path = path
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # bind(2) gives the file the mode of the socket's inode: there is no moment in which
            # others could connect (unix_bind_bsd in the kernel's net/unix/af_unix.c).
            os.fchmod(listening.fileno(), 0o600)
            path.unlink(missing_ok=True)
            listening.bind(str(path))
            if access.is_shared:
                # To whom it is open by its mode, the credentials of each connection decide.
                path.chmod(0o666)
                path.parent.chmod(path.parent.stat().st_mode | 0o011)
        except OSError as error:
            listening.close()
            raise StateError(f"control socket {path}: {error.strerror}") from error
        super().__init__(app, listening, f"control socket {path}", access=access)

    def close(self) -> None:
        """Finish the calls under way, stop the thread and remove the socket."""
        super().close()
        self._path.unlink(missing_ok=True)


class TlsListener(Listener):
    """A TCP port where the API is served by TLS, to who shows the token.

    Args:
        app: What answers.
        where: Address and port.
        token: What callers have to show.
        tls: Made by `tls_context`.

    Raises `StateError` if the port cannot be had.
    """

    def __init__(self, app: ASGIApp, where: Endpoint, token: str, tls: ssl.SSLContext) -> None:
        family = socket.AF_INET6 if ip_address(where.host).version == 6 else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((where.host, where.port))
        except OSError as error:
            listening.close()
            raise StateError(f"key api.listen: {where}: {error.strerror}") from error
        super().__init__(TokenGuard(app, token), listening, f"api.listen {where}", tls=tls)


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Read a certificate and its private key, for a server.

    Raises `SettingsError` for a file that cannot be read or does not hold it, for a certificate of
    another key, and for a key that other users may read.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # Some builds leave it to OpenSSL's file of settings, which may be missing (RFC 8996).
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        problem = exposure(key.stat())
        if problem is not None:
            raise SettingsError(f"key api.key_file: {key}: {problem}")
        # A key with a passphrase would ask for it on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        raise SettingsError(
            f"key api.certificate_file: {certificate} and {key} are no certificate and its private "
            f"key in PEM ({error.reason or 'unreadable'}); give both of one pair"
        ) from None
    except OSError as error:
        raise SettingsError(
            f"key api.certificate_file: {error.filename}: {error.strerror}"
        ) from None
    return context
