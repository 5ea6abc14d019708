"""What is acknowledged is there, and nothing by half: after kills, and with many writers."""

import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from unit.command import Wgbind
from wgbind import Server

HERE = Path(__file__).parent
KILLS = 200
WRITERS, PEERS = 20, 3


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: what a kill leaves is the kernel's, and no disk has to be waited for."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_two_hundred_kills_lose_nothing_and_leave_no_half(memory: Path) -> None:
    path, seed = memory / "wgbind.db", secrets.randbits(32)
    print(f"seed {seed}")
    argv = [HERE / "killed_writer.py", path, memory / "stored.key", seed, KILLS]
    ran = subprocess.run(
        [sys.executable, *map(str, argv)], capture_output=True, text=True, timeout=250
    )
    assert ran.returncode == 0, ran.stderr
    print("begun, and done but not told of:", ran.stdout)
    assert int(ran.stdout.split()[0]) > KILLS // 2
    with sqlite3.connect(path) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute("pragma foreign_key_check").fetchall() == []
    connection.close()


def test_a_document_that_is_cut_short_is_applied_or_not(
    private_dirs: dict[str, Path], memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in private_dirs:
        monkeypatch.setenv(name, str(memory / name))
    argv = [sys.executable, str(HERE / "killed_apply.py")]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=110)
    assert ran.returncode == 0, ran.stderr
    # Each file is opened at least, renamed, or removed: many moments.
    assert min(map(int, ran.stdout.split())) > 5


def test_twenty_writers_at_once_lose_no_update(
    initialised: Wgbind,
    private_dirs: dict[str, Path],
    memory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WGBIND_STATE_DIR", str(memory))
    settings = private_dirs["WGBIND_CONFIG_DIR"] / "wg0.toml"
    groups = ", ".join(f'"g{number}"' for number in range(WRITERS))
    settings.write_text(settings.read_text().replace("\ngroups = []\n", f"\ngroups = [{groups}]\n"))
    assert initialised("peer", "add", "shared").code == 0
    argv = [sys.executable, str(HERE / "many_writers.py"), str(WRITERS), str(PEERS)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=250)
    assert (ran.returncode, ran.stdout) == (0, "\n"), ran.stderr

    peers = {peer.name: peer for peer in Server("wg0").peers.list()}
    assert peers.pop("shared").groups == {f"g{number}" for number in range(WRITERS)}
    assert peers.keys() == {
        f"w{number}-{each}" for number in range(WRITERS) for each in range(PEERS) if each != 2
    }
    for number in range(WRITERS):
        changed = peers[f"w{number}-0"]
        assert (changed.description, changed.persistent_keepalive) == (f"w{number}", number + 1)
        assert not peers[f"w{number}-1"].enabled
    addresses = [address for peer in peers.values() for address in peer.addresses]
    assert len(set(addresses)) == len(addresses) == 2 * len(peers)
