"""Traffic with numbers: ping, iperf3 and a UDP stream that counts what is lost; CPU time."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.namespace import Namespace
from harness.wait import PATIENCE, wait_until

ECHO = Path(__file__).with_name("echo.py")
UDP_STREAM = Path(__file__).with_name("udp_stream.py")

ATTEMPTS = 10
"""Transfers of which the fastest counts."""


@dataclass(frozen=True)
class Ping:
    """What came of echo requests."""

    sent: int
    received: int

    @property
    def lost(self) -> int:
        """How many echo requests found no answer."""
        return self.sent - self.received


def ping(
    namespace: Namespace,
    host: str,
    *,
    count: int = 3,
    interval: float = 0.1,
    deadline: float = 30,
    source: str | None = None,
    size: int = 56,
    timeout: float = 60,
) -> Ping:
    """Ping `host`, an IPv4 or IPv6 address, and count; return when all are answered.

    Args:
        namespace: Where from.
        host: An IPv4 or IPv6 address.
        count: Echo requests to send.
        interval: Seconds between them.
        deadline: Seconds to wait for answers after the last one; few where none must come.
        source: Address or interface to send from.
        size: Bytes of payload.
        timeout: Seconds for all of it.
    """
    numbers = [str(number) for number in (count, interval, deadline, size)]
    argv = [sys.executable, "-I", "-S", str(ECHO), host, *numbers]
    answered = namespace.run([*argv, *([] if source is None else [source])], timeout=timeout).stdout
    return Ping(count, int(answered))


def reach(namespace: Namespace, host: str) -> None:
    """Wait until `host`, an IPv4 or IPv6 address, answers: a first handshake takes its time."""
    wait_until(lambda: ping(namespace, host, count=1, deadline=2).received, f"an answer of {host}")


class Iperf:
    """An iperf3 transfer under way."""

    def __init__(self, server: subprocess.Popen[str], client: subprocess.Popen[str]) -> None:
        self._server = server
        self._client = client

    def stop(self) -> None:
        """End it before its time; fail if it has ended by itself."""
        assert self._client.poll() is None, self._client.communicate()
        for process in (self._client, self._server):
            process.terminate()
            process.communicate(timeout=PATIENCE)

    def result(self, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait for the end and return iperf3's JSON; fail if it reports an error."""
        output, _ = self._client.communicate(timeout=timeout)
        self._server.wait(PATIENCE)
        parsed: dict[str, Any] = json.loads(output)
        assert "error" not in parsed, parsed["error"]
        return parsed

    def bits_per_second(self) -> float:
        """Wait for the end and return what the receiver got."""
        end = self.result()["end"]
        return float(end.get("sum_received", end.get("sum"))["bits_per_second"])


def iperf3(
    client: Namespace,
    server: Namespace,
    address: str,
    *,
    seconds: float = 1,
    reverse: bool = False,
    options: tuple[str, ...] = (),
    port: int = 5201,
) -> Iperf:
    """Start an iperf3 transfer from `client` to `address` of `server` (`reverse`: back)."""
    listener = server.popen(["iperf3", "-s", "-1", "-p", str(port)], stdout=subprocess.DEVNULL)
    wait_until(
        lambda: server.run(["ss", "-nHlt", f"sport = :{port}"]).stdout.strip(),
        f"a listener on port {port} of {server.name}",
    )
    direction = ("-R",) if reverse else ()
    sender = client.popen(
        ["iperf3", "-J", "-c", address, "-p", str(port), "-t", str(seconds), *direction, *options]
    )
    return Iperf(listener, sender)


def is_fast(
    client: Namespace,
    server: Namespace,
    address: str,
    rate: float,
    *,
    reverse: bool = False,
    options: tuple[str, ...] = (),
) -> bool:
    """Whether a transfer of a second reaches `rate` bits per second.

    The fastest of several counts: what else the machine does has no part in that.
    """
    transfers = (
        iperf3(client, server, address, reverse=reverse, options=options) for _ in range(ATTEMPTS)
    )
    return any(transfer.bits_per_second() > rate for transfer in transfers)


def backlog_drops() -> int:
    """Return how many packets the kernel dropped between interfaces, for want of room.

    It counts for the whole machine, which other tests flood at times (the second column of
    `softnet_seq_show` in net/core/net-procfs.c).
    """
    lines = Path("/proc/net/softnet_stat").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1], 16) for line in lines)


class UdpStream:
    """Numbered UDP datagrams under way at an even pace."""

    def __init__(self, receiver: subprocess.Popen[str], sender: subprocess.Popen[str]) -> None:
        self._receiver = receiver
        self._sender = sender
        self._dropped = backlog_drops()

    def stop(self) -> tuple[int, list[int]]:
        """End the stream; return how many datagrams were sent and the numbers of those lost."""
        self._sender.terminate()
        output, _ = self._sender.communicate(timeout=PATIENCE)
        sent = int(output)
        output, _ = self._receiver.communicate(f"{sent}\n", timeout=PATIENCE)
        received = set(json.loads(output))
        return sent, [number for number in range(sent) if number not in received]

    def assert_nothing_lost(self) -> None:
        """End the stream; assert that it was one, and that the tunnel lost none of it."""
        sent, lost = self.stop()
        assert sent > 100
        assert len(lost) <= backlog_drops() - self._dropped, lost


def udp_stream(
    client: Namespace,
    server: Namespace,
    address: str,
    *,
    port: int = 7007,
    rate: int = 500,
    life: float = 120,
) -> UdpStream:
    """Send `rate` numbered datagrams a second from `client` to `address` of `server`.

    It ends by itself after `life` seconds.
    """
    family = "6" if ":" in address else "4"
    stream = [sys.executable, str(UDP_STREAM)]
    receive = [*stream, "receive", family, str(port), str(life + 30)]
    receiver = server.popen(receive, stdin=subprocess.PIPE)
    wait_until_ready(receiver)
    sender = client.popen([*stream, "send", address, str(port), str(rate), str(life)])
    wait_until_ready(sender)
    return UdpStream(receiver, sender)


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    """Wait until a script of ours says that it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "ready\n", f"{process.args!r}: {line}{process.stdout.read()}"


def cpu_time(pid: int, role: str) -> int:
    """Return the nanoseconds that a process's threads whose names begin so have run."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    found = [task for task in tasks if (task / "comm").read_text().startswith(role)]
    assert found
    return sum(int((task / "schedstat").read_text().split()[0]) for task in found)
