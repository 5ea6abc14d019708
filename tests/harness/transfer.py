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
    timeout: float = 90,
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


def assert_whole(received: list[Received], datagrams: int) -> None:
    """Assert that all that arrived is right and came once, and that most of it arrived.

    Args:
        received: What `exchange` returned.
        datagrams: How many each end sent.
    """
    for got in received:
        assert got.whole
        assert got.corrupt == 0
        assert len(set(got.datagrams)) == len(got.datagrams), "delivered twice"
        assert len(got.datagrams) > datagrams // 2, "lost"


class Relay:
    """A network that loses, repeats and reorders 1 % of the data messages each.

    Args:
        namespace: Where it listens, on 127.0.0.1.
        port: At this port.
        server: Address and port to pass datagrams on to.
        seed: What fate draws from.
        hold: Seconds for which handshake messages are held; nothing else happens then.
    """

    def __init__(
        self,
        namespace: Namespace,
        port: int,
        server: tuple[str, int],
        *,
        seed: int = 0,
        hold: float | None = None,
    ) -> None:
        arguments = [str(port), server[0], str(server[1]), str(seed)]
        if hold is not None:
            arguments.append(str(hold))
        self._process = namespace.popen(_script("relay", *arguments))
        wait_until_ready(self._process)

    def stop(self) -> dict[str, int]:
        """End it; return how many datagrams were "passed", "lost", "repeated" and "delayed".

        If it held handshake messages, also how many initiations "crossed" others.
        """
        self._process.terminate()
        counts: dict[str, int] = _printed(self._process, 30)
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
