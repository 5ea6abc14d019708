"""The load generator (benches/load, in Rust): many clients in one thread."""

import subprocess

from harness import End, Namespace, program, wg


def add_clients(server: End, count: int) -> None:
    """Make the generator's clients the server's peers."""
    peers = subprocess.run(
        [program("load"), "peers", str(count)], check=True, capture_output=True, text=True
    )
    wg(server.namespace, "addconf", server.interface, "/dev/stdin", text=peers.stdout)


class Load:
    """One run of the generator.

    Args:
        namespace: Its host.
        arguments: Its command line (benches/load/src/main.rs).
    """

    def __init__(self, namespace: Namespace, *arguments: object) -> None:
        argv = [program("load"), *map(str, arguments)]
        self._process = namespace.popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def line(self) -> str:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, f"{self._process.args!r} ended with {self._process.wait(10)}"
        return line

    def go(self) -> None:
        """Let it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
