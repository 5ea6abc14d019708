"""One network namespace as a host: run programs in it, plug veth pairs into it."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from harness.names import CONTROL_SOCKETS, namespace_name
from harness.wait import PATIENCE, wait_until

CLONE_NEWNET = 0x40000000  # linux/sched.h

GRACE = 3.0
"""Seconds that a namespace's processes get to end on SIGTERM before SIGKILL."""


class Namespace:
    """A network namespace with loopback up; its processes die with it.

    Args:
        role: What it plays ("a", "server"); part of its name.
        ipv6: False disables IPv6 on all its interfaces.
    """

    def __init__(self, role: str = "host", *, ipv6: bool = True) -> None:
        self.name = namespace_name(role)
        self._ipv6 = ipv6
        self._interfaces: set[str] = set()
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        _check(["ip", "netns", "add", self.name])
        try:
            self.ip("link", "set", "lo", "up")
            # Duplicate address detection would hold every IPv6 address back for a second.
            self.sysctl("net.ipv6.conf.all.accept_dad", "0")
            self.sysctl("net.ipv6.conf.default.accept_dad", "0")
            if not self._ipv6:
                self.sysctl("net.ipv6.conf.all.disable_ipv6", "1")
                self.sysctl("net.ipv6.conf.default.disable_ipv6", "1")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the namespace's processes, by pid, and delete it; a second call does nothing."""
        if subprocess.run(["ip", "netns", "pids", self.name], capture_output=True).returncode != 0:
            return
        self.kill(signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while self.pids() and time.monotonic() < deadline:
            time.sleep(0.02)
        while self.pids():  # a killed process may have started another one in between
            self.kill(signal.SIGKILL)
            time.sleep(0.02)
        for process in self._processes:
            process.wait(PATIENCE)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        _check(["ip", "netns", "del", self.name])
        for interface in self._interfaces:
            CONTROL_SOCKETS.joinpath(f"{interface}.sock").unlink(missing_ok=True)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Have this thread, and who is started by it, in the namespace until the block is left."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.enter()
            try:
                yield
            finally:
                _set_namespace(outside)
        finally:
            os.close(outside)

    def enter(self) -> None:
        """Have this thread, and who is started by it, in the namespace from now on."""
        descriptor = os.open(f"/var/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _set_namespace(descriptor)
        finally:
            os.close(descriptor)

    def owns(self, interface: str) -> None:
        """Remove the control socket of `interface` with the namespace: SIGKILL leaves it."""
        self._interfaces.add(interface)

    def pids(self) -> list[int]:
        """Return the ids of the processes that live in the namespace, zombies apart."""
        listing = _check(["ip", "netns", "pids", self.name]).stdout
        return [int(pid) for pid in listing.split() if not _is_zombie(pid)]

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to every process of the namespace."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return `argv` as it has to be run to be in the namespace."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        text: str | None = None,
        timeout: float = 90,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end and return its output.

        Args:
            argv: The program and its arguments.
            check: Fail, with the output in the message, if it exits other than 0.
            text: Its standard input; empty unless given.
            timeout: Seconds after which it is killed and `subprocess.TimeoutExpired` raised.
            env: Its whole environment; this process's own unless given.
        """
        result = subprocess.run(
            self.command(argv),
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            env=None if env is None else dict(env),
        )
        if check and result.returncode != 0:
            raise _failure(argv, result)
        return result

    def popen(
        self,
        argv: Sequence[str],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.STDOUT,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program that the namespace will kill if nobody else ends it."""
        process = subprocess.Popen(
            self.command(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            env=None if env is None else dict(env),
        )
        self._processes.append(process)
        return process

    def ip(self, *arguments: str) -> str:
        """Run `ip` on the namespace and return what it prints."""
        return _check(["ip", "-n", self.name, *arguments]).stdout

    def ip_json(self, *arguments: str) -> list[dict[str, Any]]:
        """Run `ip -j` on the namespace and return what it prints, parsed."""
        output = _check(["ip", "-n", self.name, "-j", *arguments]).stdout
        parsed: list[dict[str, Any]] = json.loads(output or "[]")
        return [entry for entry in parsed if entry]

    def add_address(self, interface: str, address: str) -> None:
        """Give an interface an address, with prefix length, that can be used at once."""
        # Even where duplicate address detection is off, an IPv6 address is tentative for a moment.
        nodad = ["nodad"] if ":" in address else []
        self.ip("address", "add", address, "dev", interface, *nodad)

    def carries(self, interface: str) -> bool:
        """Tell whether an Ethernet interface is as it will stay: it sends, its addresses are there.

        The kernel lets the first end of a veth pair send, and gives it its link-local address, some
        time after the second one was set up (net/core/link_watch.c).
        """
        (link,) = self.ip_json("address", "show", "dev", interface)
        addresses = [entry for entry in link["addr_info"] if entry["family"] == "inet6"]
        ready = any(entry["scope"] == "link" for entry in addresses) or not self._ipv6
        tentative = any(entry.get("tentative") for entry in addresses)
        return link["operstate"] == "UP" and ready and not tentative

    def interfaces(self) -> list[str]:
        """Return the names of the namespace's interfaces."""
        return [link["ifname"] for link in self.ip_json("link")]

    def sysctl(self, key: str, value: str | None = None) -> str:
        """Read a kernel setting of the namespace, or write it, by its dotted name."""
        if value is None:
            return self.run(["sysctl", "-n", key]).stdout.strip()
        self.run(["sysctl", "-qw", f"{key}={value}"])
        return value


def veth(
    left: Namespace,
    right: Namespace,
    names: tuple[str, str],
    addresses: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> None:
    """Join two namespaces by a veth pair that is up; return when both ends carry packets.

    Args:
        left: One end's namespace.
        right: The other's.
        names: What the interface is called in the left and in the right namespace.
        addresses: The addresses, with prefix length, of the left and of the right end.
    """
    left.ip(
        *("link", "add", names[0], "type", "veth"),
        *("peer", "name", names[1], "netns", right.name),
    )
    for end, name, end_addresses in zip((left, right), names, addresses, strict=True):
        end.ip("link", "set", name, "up")
        for address in end_addresses:
            end.add_address(name, address)
    for end, name in zip((left, right), names, strict=True):
        wait_until(partial(end.carries, name), f"{name} of {end.name}")


def _check(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
    )
    if result.returncode != 0:
        raise _failure(argv, result)
    return result


def _failure(argv: Sequence[str], result: subprocess.CompletedProcess[str]) -> AssertionError:
    return AssertionError(
        f"{' '.join(argv)!r} exited {result.returncode}\n"
        f"--- stdout\n{result.stdout}\n--- stderr\n{result.stderr}"
    )


def _set_namespace(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _is_zombie(pid: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"
