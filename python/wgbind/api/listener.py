"""The thread that serves the API on its Unix socket."""

import os
import socket
from pathlib import Path
from threading import Thread
from time import sleep

import uvicorn
from fastapi import FastAPI

from wgbind.errors import InputError, StateError

# sockaddr_un.sun_path holds 108 bytes with its terminating zero (unix(7)).
_PATH_BYTES = 107
_SHUTDOWN_SECONDS = 5


class Listener:
    """A served control socket, from `start` to `close`.

    Args:
        app: What answers.
        path: The socket; one that is there already is taken for the rest of a dead server, so
            the caller must hold the server's lock.
    """

    def __init__(self, app: FastAPI, path: Path) -> None:
        self._path = path
        self._http = uvicorn.Server(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
        )
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = Thread(
            target=self._http.run,
            kwargs={"sockets": [self._socket]},
            name="wgbind-api",
            daemon=True,
        )

    def start(self) -> None:
        """Open the socket (mode 0600) and return when it answers.

        Raises:
            InputError: its path is too long for a Unix socket.
            StateError: it cannot be opened.
        """
        if len(os.fsencode(self._path)) > _PATH_BYTES:
            raise InputError(
                f"control socket {self._path}: longer than {_PATH_BYTES} bytes;"
                " set WGBIND_RUN_DIR to a shorter folder"
            )
        try:
            # bind(2) gives the file the mode of the socket's inode: there is no moment in which
            # others could connect (unix_bind_bsd in the kernel's net/unix/af_unix.c).
            os.fchmod(self._socket.fileno(), 0o600)
            self._path.unlink(missing_ok=True)
            self._socket.bind(str(self._path))
        except OSError as error:
            raise StateError(f"control socket {self._path}: {error.strerror}") from error
        self._thread.start()
        while not self._http.started:
            if not self._thread.is_alive():
                raise StateError(f"control socket {self._path}: its thread ended")
            sleep(0.005)

    def close(self) -> None:
        """Finish the calls under way, stop the thread and remove the socket."""
        self._http.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
        self._path.unlink(missing_ok=True)
