"""`wgbind server status --watch` on a terminal and in a pipe, while a client sends."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest
from typing_extensions import Self

from harness import Network, udp_stream

PATIENCE = 60.0
STYLE = re.compile(r"\x1b\[[0-9;]*[a-zA-Z]")


class Terminal:
    """A program on a terminal of its own; a context manager."""

    def __init__(self, network: Network, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        self._terminal = ours
        self.text = ""
        server = network.server
        self.process = subprocess.Popen(
            network.hosts.server.command(server.command(*arguments)),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**server.env, "TERM": "xterm", "COLUMNS": "150", "LINES": "30"},
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self._terminal)

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read what is drawn until it matches."""
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(pattern, STYLE.sub("", self.text))) is None:
            assert time.monotonic() < deadline, self.text[-3000:]
            self._read(0.2)
        return found

    def press(self, key: str) -> None:
        os.write(self._terminal, key.encode())

    def end(self) -> int:
        """Wait for its end, and read what it draws then."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text[-3000:]
            self._read(0.1)
        while self._read(0):
            pass
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self._terminal], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # the other end is closed
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


def test_a_terminal_shows_traffic_until_a_key_ends_it(network: Network) -> None:
    hosts, server = network.hosts, network.server
    stream = udp_stream(hosts.a, hosts.server, network.ipv4)
    arguments = ("server", "status", server.name, "--watch", "--interval", "0.2")
    with Terminal(network, *arguments) as terminal:
        found = terminal.read_until(r"\na +connected +([▁▂▃▄▅▆▇█]*█[▁▂▃▄▅▆▇█]*) +[\d.]+ (Ki)?B")
        assert len(found[1]) <= 20
        assert "2 of 2 connected" in terminal.text
        assert f"{server.name} is running" in terminal.text
        assert "\x1b[?1049h" in terminal.text  # a screen of its own
        terminal.press("q")
        assert terminal.end() == 0
        assert "\x1b[?1049l" in terminal.text  # given back
    stream.stop()


def test_ctrl_c_ends_it_as_a_key_does(network: Network) -> None:
    arguments = ("server", "status", network.server.name, "--watch", "--interval", "0.2")
    with Terminal(network, *arguments) as terminal:
        terminal.read_until("connected")
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.end() == 0
        assert "Traceback" not in terminal.text


@pytest.mark.parametrize("as_json", [False, True])
def test_a_pipe_gets_frames(network: Network, as_json: bool) -> None:
    arguments = ["--watch", "--interval", "0.1", "--count", "3", *(["--json"] if as_json else [])]
    printed = network.server.run("server", "status", network.server.name, *arguments).stdout
    assert "\x1b" not in printed
    if as_json:
        frames = [json.loads(line) for line in printed.splitlines()]
        assert [frame["name"] for frame in frames] == [network.server.name] * 3
    else:
        frames = printed.split("\n\n")
        assert len(frames) == 3
        for frame in frames:
            assert "2 of 2 connected" in frame
            assert re.search(r"^a +connected ", frame, re.MULTILINE)


def test_a_reader_that_has_enough_ends_it(network: Network) -> None:
    server = network.server
    command = server.command("server", "status", server.name, "--watch", "--interval", "0.1")
    process = network.hosts.server.popen(command, env=server.env)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(PATIENCE) == 1
