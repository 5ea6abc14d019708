"""Connections to the API: who may call, how much they may say, and how long they may take."""

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request

from harness.certificate import write_certificate
from wgbind.api import protocol
from wgbind.api.access import Access
from wgbind.api.connection import Gate, UnreachableError
from wgbind.api.guard import BodyLimit
from wgbind.api.listener import Listener, TlsListener, UnixListener, tls_context
from wgbind.api.remote import RemoteServer
from wgbind.errors import InputError, PrivilegeError, SettingsError, StateError
from wgbind.settings.address import Endpoint
from wgbind.settings.api import ApiSettings, read_token

# httpcore leaves a socket that could not connect to Python's collector of garbage.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)

OWN = Access(frozenset({os.geteuid()}))
STRANGER = 54321
TOKEN = "0123456789abcdef" * 2

Serve = Callable[..., Path]


class Slow:
    """An application that answers when it is let to."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()
        self.app = FastAPI()

        @self.app.get("/v1/status")
        def wait() -> dict[str, str]:
            self.entered.set()
            self.released.wait(60)
            return {"error": "slow"}

        @self.app.post("/v1/converge")
        def answer() -> dict[str, list[str]]:
            return {"problems": []}

        @self.app.post("/length")
        async def length(request: Request) -> int:
            return len(await request.body())


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.released.set()


@pytest.fixture
def serve(slow: Slow, tmp_path: Path) -> Iterator[Serve]:
    listeners: list[Listener] = []

    def start(access: Access = OWN) -> Path:
        path = tmp_path / f"{len(listeners)}.sock"
        listeners.append(UnixListener(slow.app, path, access))
        listeners[-1].start()
        return path

    yield start
    slow.released.set()
    for listener in listeners:
        listener.close()


def ask(path: Path, *parts: bytes) -> socket.socket:
    asking = socket.socket(socket.AF_UNIX)
    asking.settimeout(60)
    asking.connect(str(path))
    for part in parts:
        asking.sendall(part)
    return asking


def answer(asking: socket.socket) -> tuple[int, Any]:
    """Read to the end; return the status and the JSON."""
    with asking, asking.makefile("rb") as file:
        head, _, body = file.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def post(length: int) -> bytes:
    return b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % length


def test_the_kernel_says_who_calls(serve: Serve) -> None:
    for admitted in (OWN, Access(frozenset(), frozenset({os.getegid()}))):
        with RemoteServer(Gate(serve(admitted)), "x") as remote:
            assert remote.converge() == ()
    others = Access(frozenset({STRANGER}), frozenset({STRANGER}))
    with RemoteServer(Gate(serve(others)), "x") as remote:
        for _ in range(2):
            with pytest.raises(PrivilegeError, match="you may not use this socket"):
                remote.converge()


def test_strangers_take_no_room(serve: Serve) -> None:
    path = serve(Access(frozenset({STRANGER})))
    flood = [ask(path) for _ in range(100)]
    for each in flood:
        assert answer(each)[0] == 403


def test_the_file_lets_in_the_owner_alone_unless_others_are_named(serve: Serve) -> None:
    assert serve(OWN).stat().st_mode & 0o777 == 0o600
    assert serve(Access(frozenset({0, STRANGER}))).stat().st_mode & 0o777 == 0o666


def test_users_and_groups_are_found_by_name_and_number() -> None:
    found = Access.of(ApiSettings(socket_users=("root", "54321"), socket_groups=("root", "7")))
    assert found == Access(frozenset({0, os.geteuid(), STRANGER}), frozenset({0, 7}))
    assert not Access.of(ApiSettings()).is_shared
    for settings in (ApiSettings(socket_users=("nobody-x",)), ApiSettings(socket_groups=("no-x",))):
        with pytest.raises(SettingsError, match="on this host"):
            Access.of(settings)


def test_who_stalls_holds_up_nobody(serve: Serve) -> None:
    path = serve()
    stalled = [ask(path) for _ in range(30)]
    stalled += [ask(path, b"POST /v1/converge HTTP/1.1\r\nhost:") for _ in range(30)]
    stalled += [ask(path, post(100), b"x") for _ in range(30)]
    stalled += [ask(path, b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n") for _ in range(30)]
    with RemoteServer(Gate(path), "x") as remote:
        assert remote.converge() == ()
    for each in stalled:
        each.close()


def test_a_request_that_does_not_end_is_given_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.1)
    path = serve()
    for parts in ([], [b"GET /"], [post(100), b"x"]):
        with ask(path, *parts) as asking, suppress(ConnectionResetError):
            assert asking.recv(1) == b""
    # One that ended may take its time to be answered, and so may the next on its connection.
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 3.0)
    asking = ask(path, post(1), b"x")
    assert asking.recv(4096).startswith(b"HTTP/1.1 200")
    time.sleep(3.5)
    asking.sendall(post(1).replace(b"host", b"connection: close\r\nhost") + b"y")
    assert answer(asking) == (200, 1)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    serve: Serve, slow: Slow, tmp_path: Path
) -> None:
    status, told = answer(ask(serve(), post(1 << 40)))
    assert (status, told["error"]) == (413, "InputError")
    listener = UnixListener(BodyLimit(slow.app, 10), tmp_path / "small.sock", OWN)
    listener.start()
    try:
        chunked = b"POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        path = tmp_path / "small.sock"
        assert answer(ask(path, chunked, b"6\r\n123456\r\n5\r\n12345\r\n"))[0] == 413
        assert answer(
            ask(
                path,
                chunked.replace(b"host", b"connection: close\r\nhost"),
                b"6\r\n123456\r\n4\r\n1234\r\n0\r\n\r\n",
            )
        ) == (200, 10)
    finally:
        listener.close()


def test_a_call_under_way_is_answered_before_the_end(slow: Slow, tmp_path: Path) -> None:
    path = tmp_path / "ending.sock"
    listener = UnixListener(slow.app, path, OWN)
    listener.start()
    with (
        RemoteServer(Gate(path), "x") as idle,
        RemoteServer(Gate(path), "x") as remote,
        ThreadPoolExecutor() as threads,
    ):
        assert idle.converge() == ()
        waiting = threads.submit(remote.status)
        assert slow.entered.wait(60)
        ending = threads.submit(listener.close)
        with pytest.raises(StateError):  # nobody new is let in, nor an old one anew
            while True:
                idle.converge()
        slow.released.set()
        with pytest.raises(StateError, match="not understood"):  # it was answered: by no status
            waiting.result(60)
        ending.result(60)
        with pytest.raises(UnreachableError):
            remote.converge()
    assert not path.exists()


def test_a_server_that_is_gone_during_a_call_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "dying.sock"
    with socket.socket(socket.AF_UNIX) as dying, ThreadPoolExecutor() as threads:
        dying.bind(str(path))
        dying.listen()
        with RemoteServer(Gate(path), "x") as remote:
            waiting = threads.submit(remote.converge)
            connection, _ = dying.accept()
            connection.recv(1)
            connection.close()
            with pytest.raises(StateError, match="whether a change was made is not known"):
                waiting.result(60)


def test_nobody_listens_at_a_socket_that_is_not_there(tmp_path: Path) -> None:
    with RemoteServer(Gate(tmp_path / "none"), "x") as remote, pytest.raises(UnreachableError):
        remote.status()


class TestTls:
    """The API on TCP."""

    @pytest.fixture
    def gate(self, slow: Slow, tmp_path: Path) -> Iterator[Gate]:
        certificate, key = write_certificate(tmp_path, "127.0.0.1")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        listener = TlsListener(
            slow.app, Endpoint("127.0.0.1", port), TOKEN, tls_context(certificate, key)
        )
        listener.start()
        yield Gate(None, f"https://127.0.0.1:{port}", TOKEN, certificate)
        listener.close()

    def test_who_shows_the_token_is_served(self, gate: Gate) -> None:
        with RemoteServer(gate, "x") as remote:
            assert remote.converge() == ()

    @pytest.mark.parametrize("token", [None, TOKEN[:-1], TOKEN + "0", TOKEN.upper()])
    def test_nobody_else_is(self, gate: Gate, token: str | None) -> None:
        with (
            RemoteServer(Gate(None, gate.url, token, gate.authorities), "x") as remote,
            pytest.raises(PrivilegeError, match="token is missing or wrong") as refused,
        ):
            remote.converge()
        assert TOKEN not in str(refused.value)

    def test_it_never_talks_in_plain(self, gate: Gate) -> None:
        host, port = gate.url.removeprefix("https://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as plain:
            plain.sendall(
                f"GET /v1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n".encode()
            )
            with suppress(ConnectionResetError):
                assert not plain.recv(4096).startswith(b"HTTP")

    def test_a_certificate_of_nobody_is_not_trusted(self, gate: Gate) -> None:
        with (
            RemoteServer(Gate(None, gate.url, TOKEN), "x") as remote,
            pytest.raises(PrivilegeError, match="not to be trusted"),
        ):
            remote.converge()

    def test_what_is_no_pair_of_files_is_refused(self, tmp_path: Path) -> None:
        certificate, key = write_certificate(tmp_path, "127.0.0.1")
        assert tls_context(certificate, key).minimum_version >= ssl.TLSVersion.TLSv1_2
        (tmp_path / "other").mkdir()
        _, other = write_certificate(tmp_path / "other", "127.0.0.1")
        for files in ((certificate, other), (key, key), (certificate, tmp_path / "none")):
            with pytest.raises(SettingsError, match="key api"):
                tls_context(*files)
        key.chmod(0o640)
        with pytest.raises(SettingsError, match="chmod 600"):
            tls_context(certificate, key)


def test_a_token_is_long_and_in_a_file_of_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(f"{TOKEN}\n")
    assert read_token(file) == TOKEN
    for text in ("", TOKEN[1:], TOKEN + "\xe9", TOKEN + " x", "x" * 121):
        file.write_text(text)
        with pytest.raises(InputError, match="holds no"):
            read_token(file)
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_token(file)


@pytest.mark.parametrize(
    "url",
    [
        "http://x:1",
        "https://",
        "https://user:secret@x",
        "https://x:1?token=1",
        "https://[",
        "ftp://x",
    ],
)
def test_urls_without_tls_or_with_secrets_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT"):
        Gate.of_url(url, token=TOKEN, token_file=None, authorities=None)


def test_the_token_shows_nowhere() -> None:
    gate = Gate.of_url("https://x:1", token=TOKEN, token_file=None, authorities=None)
    assert TOKEN not in repr(gate) + str(gate)
