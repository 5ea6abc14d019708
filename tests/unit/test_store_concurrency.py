"""Many processes on one store, and processes that are killed."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path
from threading import Barrier, Timer

import pytest

from wgbind.keys import PrivateKey
from wgbind.store import Store

POOLS = (ip_interface("10.8.0.1/16"), ip_interface("fd00::1/64"))

# Adds peers named PREFIX-0, PREFIX-1, ... and tells each one that was acknowledged.
WRITER = """
import sys
from ipaddress import ip_interface
from pathlib import Path
from wgbind.keys import PrivateKey
from wgbind.store import Store
url, prefix, count = sys.argv[1:]
keys = [PrivateKey.generate() for _ in range(int(count))]
pools = (ip_interface("10.8.0.1/16"), ip_interface("fd00::1/64"))
print("ready", flush=True)
sys.stdin.readline()
store = Store(url, Path(url.removeprefix("sqlite:///")).with_name("stored.key"))
for number, key in enumerate(keys):
    name = f"{prefix}-{number}"
    peer = store.add_peer("wg0", name, pools=pools, public_key=key.public_key(), private_key=key)
    print(name, *peer.addresses, flush=True)
    if number % 3 == 2:
        store.update_peer("wg0", name, pools=pools, persistent_keepalive=number)
        print(name, "updated", flush=True)
    if number % 5 == 4:
        store.remove_peer("wg0", f"{prefix}-{number - 1}")
        print(f"{prefix}-{number - 1}", "removed", flush=True)
"""


def open_store(path: Path) -> Store:
    return Store(f"sqlite:///{path}", path.with_name("stored.key"))


@contextmanager
def writers(path: Path, count: int, peers: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Start processes that wait for each other, then all write at once."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, f"sqlite:///{path}", f"w{number}", str(peers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def answers(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Wait until the processes end; return what they told yet, but a line cut short by a kill."""
    texts = []
    for process in processes:
        assert process.stdout is not None
        texts.append(process.stdout.read())
        process.wait(60)
    return [line for text in texts for line in text[: text.rfind("\n") + 1].splitlines()]


def check(path: Path, told: list[str], killed: int = 0) -> None:
    """Check that the store has what was acknowledged, nothing by half and nothing twice.

    Each of the `killed` processes may have done one thing that it could not tell any more.
    """
    with open_store(path) as store:
        peers = {peer.name: peer for peer in store.peers("wg0")}
        removed_untold = 0
        for line in told:
            name, *rest = line.split()
            if rest == ["removed"]:
                assert name not in peers
            elif rest == ["updated"] and name in peers:
                assert peers[name].persistent_keepalive == int(name.partition("-")[2])
            elif name in peers:
                assert [str(address) for address in peers[name].addresses] == rest
            elif rest != ["updated"] and f"{name} removed" not in told:
                removed_untold += 1
        assert removed_untold <= killed
        for peer in peers.values():
            assert [address.version for address in peer.addresses] == [4, 6]
            assert peer.private_key is not None
            assert peer.private_key.public_key() == peer.public_key
        addresses = [address for peer in peers.values() for address in peer.addresses]
        assert len(set(addresses)) == len(addresses)
        store.add_peer("wg0", "last", pools=POOLS, public_key=PrivateKey.generate().public_key())
    connection = sqlite3.connect(path)
    assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    assert connection.execute("pragma foreign_key_check").fetchall() == []
    connection.close()


@pytest.mark.parametrize("new", [True, False])
def test_processes_that_write_at_once(tmp_path: Path, new: bool) -> None:
    path = tmp_path / "state" / "wgbind.db"
    if not new:
        Store(f"sqlite:///{path}").close()
    with writers(path, 4, 40) as processes:
        told = answers(processes)
        assert [process.returncode for process in processes] == [0] * 4
    adds, updates, removals = 4 * 40, 4 * 13, 4 * 8
    assert len(told) == adds + updates + removals
    check(path, told)
    with open_store(path) as store:
        assert len(store.peers("wg0")) == adds - removals + 1  # and the one that `check` added
        assert store.version() == len(told) + 1


def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    for attempt in range(6):
        path = tmp_path / str(attempt) / "wgbind.db"
        with writers(path, 2, 2000) as processes:
            # Without an attempt they may be killed before they wrote anything, and else at work.
            told = [next(process.stdout or iter(())) for process in processes * attempt]
            time.sleep(attempt * 0.1)
            for process in processes:
                process.kill()
            told = [line.rstrip("\n") for line in told] + answers(processes)
        check(path, told, killed=2)


# Adds batches of 40 peers, each batch disabled and removed again as one, and tells of each step.
BULK_WRITER = """
import sys
from ipaddress import ip_interface
from pathlib import Path
from wgbind.keys import PrivateKey
from wgbind.store import Store
pools = (ip_interface("10.8.0.1/16"), ip_interface("fd00::1/64"))
store = Store(sys.argv[1])
def disabled(peer):
    from dataclasses import replace
    return replace(peer, enabled=False)
for batch in range(1000):
    names = [f"b{batch}-{number}" for number in range(40)]
    key = lambda: PrivateKey.generate().public_key()
    store.add_peers("wg0", [(name, {"public_key": key()}) for name in names], pools=pools)
    print(batch, "added", flush=True)
    store.edit_peers("wg0", [(name, disabled) for name in names], pools=pools)
    print(batch, "disabled", flush=True)
    if batch % 2:
        store.remove_peers("wg0", names)
        print(batch, "removed", flush=True)
"""


def test_sigkill_leaves_no_half_of_what_is_done_to_many(tmp_path: Path) -> None:
    for attempt in range(4):
        path = tmp_path / str(attempt) / "wgbind.db"
        argv = [sys.executable, "-c", BULK_WRITER, f"sqlite:///{path}"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "0 added\n"
            time.sleep(0.1 + attempt * 0.11)
            process.kill()
            told = {0: {"added"}}
            for line in process.stdout.read().splitlines(keepends=True):
                if line.endswith("\n"):
                    number, step = line.split()
                    told.setdefault(int(number), set()).add(step)
        with Store(f"sqlite:///{path}") as store:
            found: dict[int, list[bool]] = {}
            for peer in store.peers("wg0"):
                found.setdefault(int(peer.name[1:].partition("-")[0]), []).append(peer.enabled)
            for enabled in found.values():
                assert len(enabled) == 40
                assert len(set(enabled)) == 1
            for batch, steps in told.items():
                if "removed" in steps:
                    assert batch not in found
                elif "disabled" in steps and batch in found:
                    assert not found[batch][0]
                elif batch % 2 == 0:
                    assert batch in found


def test_a_reader_sees_one_moment(tmp_path: Path) -> None:
    path = tmp_path / "wgbind.db"
    with open_store(path) as store, writers(path, 1, 100) as (process,):
        while process.poll() is None:
            for peer in store.peers("wg0"):
                assert len(peer.addresses) == 2
            assert process.stdout is not None
            process.stdout.readline()


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Do the work in threads that begin at once; raise what one of them raised."""
    barrier = Barrier(count)

    def start(number: int) -> None:
        barrier.wait()
        work(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(start, range(count)))


def test_a_store_that_many_make_at_once(tmp_path: Path) -> None:
    for attempt in range(10):
        url = f"sqlite:///{tmp_path}/{attempt}/wgbind.db"

        def make(number: int, url: str = url) -> None:
            key = PrivateKey.generate().public_key()
            with Store(url) as store:
                store.add_peer("wg0", f"peer-{number}", pools=POOLS, public_key=key)

        in_threads(8, make)
        with Store(url) as store:
            assert len(store.peers("wg0")) == 8
            with store._database.reading() as connection:
                assert connection.exec_driver_sql("pragma journal_mode").scalar_one() == "wal"


def test_many_stores_made_at_once(tmp_path: Path) -> None:
    in_threads(8, lambda number: Store(f"sqlite:///{tmp_path}/{number}.db").close())
    assert len(list(tmp_path.iterdir())) == 8


def test_a_writer_of_a_new_file_is_waited_for(tmp_path: Path) -> None:
    """SQLite itself does not wait when it changes the journal's mode."""
    path = tmp_path / "wgbind.db"
    path.touch(0o600)
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("begin immediate")
    timer = Timer(0.3, writer.rollback)
    timer.start()
    with Store(f"sqlite:///{path}") as store:
        assert store.version() == 0
    timer.join()
    writer.close()


def test_threads_share_a_store(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path}/wgbind.db") as store:

        def write(thread: int) -> None:
            for number in range(20):
                key = PrivateKey.generate().public_key()
                store.add_peer("wg0", f"t{thread}-{number}", pools=POOLS, public_key=key)

        in_threads(4, write)
        addresses = {address for peer in store.peers("wg0") for address in peer.addresses}
    assert len(addresses) == 160
