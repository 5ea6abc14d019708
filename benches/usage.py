"""What a process costs: CPU time and memory."""

import os
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


class Cpu:
    """CPU time of a process from now on."""

    def __init__(self, pid: int) -> None:
        self._stat = Path(f"/proc/{pid}/stat")
        self._before = self._total()

    def seconds(self) -> float:
        """Return the seconds of user and system time of all its threads since the start."""
        return self._total() - self._before

    def _total(self) -> float:
        # The fields behind the name, which may hold anything (proc_pid_stat(5)).
        fields = self._stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


def thread_seconds(pid: int) -> dict[tuple[str, str], float]:
    """Return the CPU seconds of a process by thread: its id and its name."""
    found = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended just now
            # Nanoseconds on a CPU come first (Documentation/scheduler/sched-stats.rst).
            nanoseconds = int((thread / "schedstat").read_text().split()[0])
            found[thread.name, (thread / "comm").read_text().strip()] = nanoseconds / 1e9
    return found


def resident_mb(pid: int, *, peak: bool = True) -> float:
    """Return the resident memory of a process, now or at its peak, in MB."""
    key = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError(f"{pid} has no {key}")
