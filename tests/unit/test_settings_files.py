"""Files that are whole, and closed to others."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wgbind.settings.files import atomic_write, exposure

REWRITE_FOREVER = """
import sys
from pathlib import Path
from wgbind.settings.files import atomic_write
path = Path(sys.argv[1])
print("ready", flush=True)
while True:
    for byte in (b"a", b"b"):
        atomic_write(path, byte * 100_000, 0o600)
"""


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_is_the_one_asked_for(tmp_path: Path, umask: int, mode: int) -> None:
    path = tmp_path / "file"
    old = os.umask(umask)
    try:
        atomic_write(path, b"text", mode)
    finally:
        os.umask(old)
    assert path.read_bytes() == b"text"
    assert path.stat().st_mode & 0o7777 == mode
    assert list(tmp_path.iterdir()) == [path]


def test_a_symlink_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(victim)
    atomic_write(link, b"new", 0o600)
    assert victim.read_text() == "precious"
    assert not link.is_symlink()


def test_an_existing_file_stays_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(FileExistsError):
        atomic_write(path, b"new", 0o600, replace=False)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "no" / "file", b"", 0o600)


def test_sigkill_leaves_one_content_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", REWRITE_FOREVER, str(path)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while not path.exists():
                assert process.poll() is None
            for _ in range(20):
                assert set(path.read_bytes()) in ({ord("a")}, {ord("b")})
            process.send_signal(signal.SIGKILL)
        assert path.read_bytes() in (b"a" * 100_000, b"b" * 100_000)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o777])
def test_a_file_open_to_others_is_exposed(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    assert exposure(path.stat()) == f"mode {mode:04o} lets other users in; chmod 600 it"
    path.chmod(0o600)
    assert exposure(path.stat()) is None


def test_a_file_of_another_user_is_exposed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o600)
    values = list(path.stat())
    values[4] = os.geteuid() + 4242  # st_uid
    problem = exposure(os.stat_result(values))
    assert problem == (f"it belongs to user id {os.geteuid() + 4242}; chown it to {os.geteuid()}")
