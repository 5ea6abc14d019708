"""What passes an interface, as tcpdump prints it."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator

from harness.namespace import Namespace


@contextlib.contextmanager
def sniff(
    namespace: Namespace, interface: str, expression: str
) -> Iterator[Callable[[], list[str]]]:
    """Record the packets that match a pcap-filter(7) expression while the block runs.

    Yields a function that returns one line a packet; call it after the block.
    """
    lines: list[str] = []
    # -U with --immediate-mode: no packet waits in a buffer when the block ends.
    process = namespace.popen(
        ["tcpdump", "-nltU", "--immediate-mode", "-i", interface, expression],
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    while "listening on" not in (line := process.stderr.readline()):
        assert line, "tcpdump ended before it listened"
    yield lambda: lines
    time.sleep(0.2)
    process.terminate()
    output, _ = process.communicate(timeout=10)
    lines += filter(None, output.splitlines())
