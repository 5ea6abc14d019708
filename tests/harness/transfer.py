"""What two hosts send each other, whole and once: on good and bad networks, on old kernels."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.measure import wait_until_ready
from harness.namespace import Namespace

PORT = 7070


@dataclass(frozen=True)
class Received:
    """What one end got from the other.

    Attributes:
        whole: Whether the bytes sent over TCP have the same SHA-256 here as there.
        datagrams: Numbers of the datagrams, in the order of their arrival.
        corrupt: How many had another content than was sent.
    """

    whole: bool
    datagrams: list[int]
    corrupt: int


def exchange(
    client: Namespace,
    server: Namespace,
    addresses: tuple[str, ...],
    *,
    size: int,
    datagrams: int,
    timeout: float = 30,
) -> list[Received]:
    """Exchange `size` bytes over TCP, then datagrams of mixed sizes, both ways at once.

    Returns what each end received at each of the server's `addresses`, one after the other.
    """
    arguments = (str(PORT), str(size), str(datagrams), *addresses)
    listener = server.popen(_script("exchange", "listen", *arguments))
    wait_until_ready(listener)
    connector = client.popen(_script("exchange", "connect", *arguments))
    here, there = (_printed(process, timeout) for process in (connector, listener))
    return [
        Received(receiver["received"] == sender["sent"], receiver["datagrams"], receiver["corrupt"])
        for ends in zip(here, there, strict=True)
        for sender, receiver in (ends, ends[::-1])
    ]


class Relay:
    """A network that loses, repeats and reorders 1 % of the data messages each.

    Args:
        namespace: Where it listens, on 127.0.0.1.
        port: At this port.
        server: Address and port to pass datagrams on to.
        seed: What fate draws from.
    """

    def __init__(self, namespace: Namespace, port: int, server: tuple[str, int], seed: int) -> None:
        to = (server[0], str(server[1]))
        self._process = namespace.popen(_script("relay", str(port), *to, str(seed)))
        wait_until_ready(self._process)

    def stop(self) -> dict[str, int]:
        """End it; return how many datagrams were "passed", "lost", "repeated" and "delayed"."""
        self._process.terminate()
        counts: dict[str, int] = _printed(self._process, 10)
        return counts


def old_kernel(*features: str) -> list[str]:
    """Return the words in front of a program that is to miss these features of the kernel."""
    return ["unshare", "--mount", *_script("old_kernel", ",".join(features))]


def _script(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *arguments]


def _printed(process: subprocess.Popen[str], timeout: float) -> Any:
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, output
    return json.loads(output)
