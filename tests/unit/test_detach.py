"""Going into the background: the parent ends with the child's outcome."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import os, sys, time
from pathlib import Path
from wgbind.detach import detach
from wgbind.errors import ConflictError, StateError

def report(error):
    print(type(error).__name__, error, file=sys.stderr)

folder, parent = Path(sys.argv[1]), os.getpid()
readiness = detach(report)
(folder / "child").write_text(f"{os.getpid()} {os.getsid(0)}")
try:
"""


def run(tmp_path: Path, *lines: str) -> tuple[int, str]:
    """Run a script that detaches, with `lines` in the child; return exit code and errors."""
    process = start(tmp_path, *lines)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def start(tmp_path: Path, *lines: str) -> subprocess.Popen[str]:
    body = "".join(f"    {line}\n" for line in lines)
    told = "except StateError as error:\n    (folder / 'told').write_text(str(error))\n"
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT + body + told, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ready_child_lets_the_parent_end(tmp_path: Path) -> None:
    assert run(tmp_path, "readiness.ready()") == (0, "")
    pid, session = (tmp_path / "child").read_text().split()
    assert pid == session


def test_failed_child_gives_its_error_to_the_parent(tmp_path: Path) -> None:
    failed = "assert readiness.failed(ConflictError('port 7 is taken'))"
    assert run(tmp_path, failed) == (1, "ConflictError port 7 is taken\n")


@pytest.mark.parametrize("death", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_dead_child_is_a_failure(tmp_path: Path, death: str) -> None:
    code, errors = run(tmp_path, death)
    assert code == 1
    assert "before it was ready" in errors


def test_failure_after_ready_is_nobodys(tmp_path: Path) -> None:
    late = "raise StateError(str(readiness.failed(ConflictError('late'))))"
    assert run(tmp_path, "readiness.ready()", late)[0] == 0
    assert (tmp_path / "told").read_text() == "False"


def test_child_hears_that_the_parent_was_killed(tmp_path: Path) -> None:
    process = start(
        tmp_path,
        "while os.getppid() == parent: time.sleep(0.01)",
        "readiness.ready()",
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "child").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)  # the child has its output, too
    assert "broken off" in (tmp_path / "told").read_text()
