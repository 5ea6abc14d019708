"""Calls that block: which connection they take, and what they say of a broken one."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from wgbind.api.call import Call
from wgbind.api.connection import Gate
from wgbind.api.event_stream import EventStream
from wgbind.api.http_client import HttpClient
from wgbind.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

CALL = Call("POST", "/x", lambda body, _: body, body='"ü"')
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nETag: 7\r\n\r\n"


@contextmanager
def serving(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """Listen, and serve in a thread, which is to end by itself."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(60)
        thread = Thread(target=serve, args=(listening,))
        thread.start()
        yield
        thread.join()


@contextmanager
def server(path: Path, answers: Sequence[Sequence[bytes]]) -> Iterator[list[bytes]]:
    """Answer on one connection after the other, then close it; give the requests that came."""
    requests: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        for connection in answers:
            accepted, _ = listening.accept()
            with accepted:
                for answer in connection:
                    request = b""
                    while not request.endswith('"ü"'.encode()):
                        request += accepted.recv(1000)
                    requests.append(request)
                    accepted.sendall(answer)

    with serving(path, serve):
        yield requests


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


def test_a_connection_is_used_again(path: Path) -> None:
    # Nobody would answer on a second one.
    with server(path, [[ANSWER + b"true", ANSWER + b"null"]]) as requests:
        client = HttpClient(Gate(path))
        found = [client.request(CALL) for _ in range(2)]
        client.close()
    assert [(each.status, each.content) for each in found] == [(200, b"true"), (200, b"null")]
    assert found[0].headers["etag"] == "7"
    assert found[0].is_success
    assert all(each.startswith(b"POST /x HTTP/1.1\r\n") for each in requests)


def test_one_that_the_server_closed_is_not(path: Path) -> None:
    with server(path, [[ANSWER + b"true"], [ANSWER + b"null"]]):
        client = HttpClient(Gate(path))
        assert client.request(CALL).content == b"true"
        [(idle, _)] = client._idle
        assert idle.sock.recv(1, socket.MSG_PEEK) == b""  # it waits for the end
        assert client.request(CALL).content == b"null"
        client.close()


def test_who_is_refused_before_all_is_sent_hears_it(path: Path) -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"

    def refuse(listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        with accepted:
            accepted.sendall(refusal)

    with serving(path, refuse):
        client = HttpClient(Gate(path))
        # More than the kernel keeps for who does not read.
        answer = client.request(replace(CALL, body="x" * (1 << 24)))
    assert (answer.status, answer.content) == (403, b"no")
    assert client._idle == []


@pytest.mark.parametrize("end", [b"", b"5\r\ndat", b"0\r\n\r\n"])
def test_a_stream_that_breaks_off_is_not_its_end(path: Path, end: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

    def serve(listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        with accepted:
            accepted.recv(1000)
            accepted.sendall(head + b"d\r\n: listening\n\n\r\n" + end)

    with serving(path, serve), EventStream(Gate(path)) as events:
        if end.startswith(b"0"):
            assert list(events) == []
        else:
            with pytest.raises(StateError, match="does not answer"):
                next(events)


@pytest.mark.parametrize("answer", [b"", ANSWER + b"tr", b"nonsense\r\n\r\n"])
def test_an_answer_that_breaks_off_leaves_open_what_was_done(path: Path, answer: bytes) -> None:
    with server(path, [[answer]]):
        client = HttpClient(Gate(path))
        with pytest.raises(StateError, match="whether a change was made is not known"):
            client.request(CALL)
        assert client._idle == []
        client.close()
