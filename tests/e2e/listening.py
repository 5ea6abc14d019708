"""Processes that listen to a server's events."""

import json
import re
import subprocess
from typing import Any

from harness import Wgbind

RENEWED = re.compile('"kind":"rekeyed"|renewed its session$')

LISTEN = """
import sys, time
from wgbind import Server
with Server(sys.argv[1]).events() as events:
    print("listening", file=sys.stderr, flush=True)
    for event in events:
        print(time.time() - event.at.timestamp(), event.model_dump_json(), flush=True)
"""


class Listener:
    """A process that prints events, when it has begun to listen."""

    def __init__(self, server: Wgbind, *argv: str) -> None:
        self._process = server.namespace.popen(
            argv, env=server.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stderr is not None
        assert "listening" in self._process.stderr.readline()

    def event(self) -> tuple[float, dict[str, Any]]:
        """Wait for the next event; return how long it was under way, in seconds, and itself.

        Handshakes that wireguard-go repeats are passed over: on a busy machine it does so now and
        then (see `Client.settled_handshake`).
        """
        assert self._process.stdout is not None
        while True:
            delay, event = self._process.stdout.readline().split(maxsplit=1)
            told = json.loads(event)
            if told["kind"] != "rekeyed":
                return float(delay), told

    def rest(self) -> list[str]:
        """Wait for its end, which must be a good one; return the other lines that it prints."""
        printed, errors = self._process.communicate(timeout=60)
        assert (self._process.returncode, errors) == (0, "")
        return [line for line in printed.splitlines() if not RENEWED.search(line)]
