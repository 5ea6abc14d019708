"""Other processes that call a running server, and what becomes of them and of it."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Namespace, Wgbind, program, wg
from harness.certificate import write_certificate
from wgbind import PrivateKey

STRANGER = 54321

FOLLOW = """
import sys
import wgbind
with wgbind.connect(sys.argv[1]) as server, server.events() as events:
    print("listening", flush=True)
    for event in events:
        print(event, flush=True)
print("ended")
"""

FOLLOW_ASYNC = """
import asyncio, sys
import wgbind
async def follow():
    async with wgbind.connect_async(sys.argv[1]) as server:
        async with server.events() as events:
            print("listening", flush=True)
            async for event in events:
                print(event, flush=True)
    print("ended")
asyncio.run(follow())
"""

# It does what a task that waits has to bear: others go on, and it can be given up.
AT_ONCE = """
import asyncio, sys, threading
import wgbind
async def main():
    async with wgbind.connect_async(sys.argv[1]) as server:
        heard = []
        async def listen():
            async for event in server.events():
                heard.append((event.kind, event.name))
        listening = asyncio.create_task(listen())
        while not heard:
            await server.peers.add("first")
            await server.peers.remove("first")
            await asyncio.sleep(0)
        await asyncio.gather(*(server.peers.add(f"p{number}") for number in range(20)))
        assert len(await server.peers.list()) == 20
        assert threading.active_count() == 1, threading.enumerate()
        while ("added", "p19") not in heard:
            await asyncio.sleep(0.01)
        listening.cancel()
        try:
            await listening
        except asyncio.CancelledError:
            print("given up")
        async with server.peers.transaction() as transaction:
            transaction.remove("p0")
        assert len(await server.peers.list()) == 19
asyncio.run(main())
"""


# Twenty processes, in turn a person's and a program's, that all begin when all are there.
AT_ONCE_FROM_MANY = """
import os, sys
from dataclasses import replace
from pathlib import Path
import wgbind
from wgbind.cli import app
server, count = sys.argv[1], 20
gate, opener = os.pipe()

def command(*arguments):
    sys.argv = ["wgbind", "peer", arguments[0], "--server", server, *arguments[1:]]
    assert app.run() == 0, arguments

def work(number):
    if number % 2:
        for each in range(3):
            command("add", f"w{number}-{each}", "--no-qr")
        command("set", "shared", "--group", f"g{number}")
        command("remove", f"w{number}-0", "--yes")
        return
    with wgbind.connect(server) as remote:
        remote.peers.add_many(wgbind.NewPeer(f"w{number}-{each}") for each in range(3))
        remote.peers.edit("shared", lambda old: replace(old, description=old.description + "x"))
        remote.peers.remove(f"w{number}-0")

children = []
for number in range(count):
    pid = os.fork()
    if pid == 0:
        os.close(opener)
        os.read(gate, 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
        try:
            work(number)
            code = 0
        finally:
            os._exit(code)
    children.append(pid)
os.close(opener)
print(*(os.waitpid(pid, 0)[1] for pid in children))
"""


# Four processes with a document each, which the server takes, or who may write its files.
DOCUMENTS_AT_ONCE = """
import os, sys
from wgbind import Server
server, count = Server(sys.argv[1]), 4
gate, opener = os.pipe()
children = []
for number in range(count):
    pid = os.fork()
    if pid == 0:
        os.close(opener)
        os.read(gate, 1)
        code = 1
        try:
            settings = {"client": {"endpoints": {f"e{number}": f"203.0.113.{number}"}}}
            if number % 2:
                settings["interface"] = {}
            assert server.apply({"settings": settings, "peers": {f"p{number}": {}}}).plan.changes
            code = 0
        finally:
            os._exit(code)
    children.append(pid)
os.close(opener)
print(*(os.waitpid(pid, 0)[1] for pid in children))
"""


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Namespace("server") as namespace:
        yield namespace


@pytest.fixture
def server(host: Namespace, tmp_path: Path) -> Wgbind:
    server = Wgbind(host, tmp_path)
    server.run("server", "init", server.name)
    return server


def follow(server: Wgbind, code: str) -> "subprocess.Popen[str]":
    """Run a process that listens; return when it does."""
    process = server.namespace.popen([program("python"), "-c", code, server.name], env=server.env)
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    return process


@pytest.mark.parametrize("code", [FOLLOW, FOLLOW_ASYNC])
def test_ctrl_c_ends_who_waits_and_nothing_else(server: Wgbind, code: str) -> None:
    server.start()
    process = follow(server, code)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode in {-signal.SIGINT, 130}
    assert "KeyboardInterrupt" in printed
    assert server.status()["state"] == "running"


@pytest.mark.parametrize("code", [FOLLOW, FOLLOW_ASYNC])
def test_who_listens_hears_of_the_end(server: Wgbind, code: str) -> None:
    server.start()
    process = follow(server, code)
    server.stop()
    assert process.communicate(timeout=60)[0] == "ended\n"


@pytest.mark.parametrize("code", [FOLLOW, FOLLOW_ASYNC])
def test_a_killed_server_is_an_error_to_who_listens(server: Wgbind, code: str) -> None:
    server.start()
    process = follow(server, code)
    os.kill(server.status()["pid"], signal.SIGKILL)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "StateError: the server does not answer" in printed
    server.stop()


def test_asyncio_waits_for_many_at_once_without_a_thread(server: Wgbind) -> None:
    server.start()
    code = [program("python"), "-W", "error", "-c", AT_ONCE, server.name]
    assert server.namespace.run(code, env=server.env).stdout == "given up\n"


def test_twenty_who_write_at_once_lose_nothing(server: Wgbind) -> None:
    groups = ", ".join(f'"g{number}"' for number in range(20))
    server.rewrite(("\ngroups = []", f"\ngroups = [{groups}]"))
    server.start()
    server.peer("add", "shared")
    ran = server.namespace.run(
        [program("python"), "-c", AT_ONCE_FROM_MANY, server.name], env=server.env, timeout=250
    )
    assert ran.stdout.split() == ["0"] * 20, ran.stderr
    peers = {peer["name"]: peer for peer in server.peers()}
    shared = peers.pop("shared")
    assert shared["description"] == "x" * 10
    assert sorted(shared["groups"]) == sorted(f"g{number}" for number in range(1, 20, 2))
    assert set(peers) == {f"w{number}-{each}" for number in range(20) for each in (1, 2)}
    addresses = [address for peer in [shared, *peers.values()] for address in peer["allowed_ips"]]
    assert len(addresses) == len(set(addresses)) == 2 * 41
    assert set(wg(server.namespace, "show", server.name, "peers").split()) == {
        peer["public_key"] for peer in [shared, *peers.values()]
    }


def test_documents_applied_at_once_lose_nothing_of_each_other(server: Wgbind) -> None:
    server.start()
    ran = server.namespace.run(
        [program("python"), "-c", DOCUMENTS_AT_ONCE, server.name], env=server.env, timeout=250
    )
    assert ran.stdout.split() == ["0"] * 4, ran.stderr
    text = server.settings.read_text()
    assert [number for number in range(4) if f'"203.0.113.{number}"' not in text] == []
    assert sorted(peer["name"] for peer in server.peers()) == [f"p{each}" for each in range(4)]
    server.run("peer", "config", "--server", server.name, "p0", "--endpoint", "e3")


def test_nobody_is_connected_to_a_server_that_is_stopped(server: Wgbind) -> None:
    code = "import sys, wgbind; wgbind.connect(sys.argv[1])"
    ran = server.namespace.run(
        [program("python"), "-c", code, server.name], env=server.env, check=False
    )
    assert ran.stderr.splitlines()[-1].endswith(
        f"nobody listens on {server.runtime}/{server.name}.sock"
    )


def test_commands_need_no_store_where_the_server_runs(server: Wgbind) -> None:
    server.start()
    # Whoever may not touch the files may still call, if the settings say so.
    heavy = "import sys; from wgbind.cli import main; main()"
    for arguments in (["add", "phone"], ["list"], ["show", "phone"], ["remove", "phone"]):
        command, *rest = arguments
        words = ["peer", command, "--server", server.name, *rest]
        ran = server.namespace.run(
            [program("python"), "-X", "importtime", "-c", heavy, *words], env=server.env
        )
        assert not re.search(r"\| +(sqlalchemy|pyroute2|fastapi)$", ran.stderr, re.MULTILINE)


def has_other_users() -> bool:
    """Tell whether there are any: in a user namespace of one's own there is root alone."""
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    return any(int(line.split()[2]) > STRANGER for line in lines)


class Strangers:
    """Another user of the host, who has no right to any file of the server."""

    @pytest.fixture
    def server(self, host: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wgbind]:
        # pytest's own folders are closed to others.
        folder = Path(f"/run/{tmp_path_factory.mktemp('api').name}-{os.getpid()}")
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
        server = Wgbind(host, folder)
        server.run("server", "init", server.name)
        yield server
        subprocess.run(["rm", "-r", str(folder)], check=True)

    def ask(self, server: Wgbind, *arguments: str, group: int = STRANGER) -> tuple[int, str, str]:
        """Run the command as the stranger; return exit code, output and errors."""
        who = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", f"--groups={group}"]
        if server.namespace.run([*who, program("python"), "-c", ""], check=False).returncode:
            # Where the program itself lies in a closed folder, let them read, but write nowhere.
            who += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        ran = server.run(*arguments, check=False, before=who)
        return ran.returncode, ran.stdout, ran.stderr

    def test_they_are_refused(self, server: Wgbind) -> None:
        server.start()
        code, printed, errors = self.ask(server, "peer", "add", "--server", server.name, "x")
        assert (code, printed) == (1, "")
        assert re.fullmatch(r"error: .*(not allowed|may not).*\n", errors)

    @pytest.mark.parametrize("key", ["socket_users", "socket_groups"])
    def test_whom_the_settings_name_may_do_all(self, server: Wgbind, key: str) -> None:
        server.rewrite((f"{key} = []", f'{key} = ["{STRANGER + 1}"]'))
        server.start()
        code, _, errors = self.ask(server, "peer", "add", "--server", server.name, "x")
        assert code == 1
        assert "you may not use this socket" in errors
        server.stop()
        server.rewrite((f'["{STRANGER + 1}"]', f'["{STRANGER}", "{STRANGER + 2}"]'))
        server.start()
        code, printed, errors = self.ask(server, "peer", "add", "--server", server.name, "phone")
        assert (code, errors.count("error")) == (0, 0)
        assert "PrivateKey = " in printed
        if key == "socket_groups":  # not its first group alone
            assert self.ask(server, "server", "status", server.name, group=STRANGER + 2)[0] == 0
            return
        for arguments in (["list"], ["show", "phone"], ["config", "phone"], ["remove", "phone"]):
            command, *rest = arguments
            code, _, errors = self.ask(server, "peer", command, "--server", server.name, *rest)
            assert code == 0, errors
        document = server.settings.parent.parent / "document.json"
        own = str(PrivateKey.generate().public_key())
        document.write_text(json.dumps({"peers": {"laptop": {"public_key": own}}}))
        asked = ("apply", str(document), "--server", server.name)
        code, printed, errors = self.ask(server, *asked)
        assert (code, printed.splitlines()[-1:]) == (0, ["Applied: 1 added."]), errors
        document.write_text(json.dumps({"settings": {"api": {}}, "peers": {}}))
        code, _, errors = self.ask(server, *asked)
        assert code == 1
        assert re.fullmatch(r"error: .*(not allowed|may not).*\n", errors)
        assert server.settings.stat().st_mode & 0o077 == 0


if has_other_users():  # elsewhere test_api_listener.py has to do

    class TestStrangers(Strangers):
        """They are there."""


def test_a_server_without_token_or_certificate_does_not_start(
    server: Wgbind, host: Namespace
) -> None:
    server.rewrite(
        ("# certificate_file", "certificate_file"),
        ('# key_file = "api.key"', 'key_file = "api.key"'),
        ("# token_file", "token_file"),
        ('# listen = "192.0.2.1:8443"', 'listen = "127.0.0.1:8443"'),
    )

    def refused(words: str) -> None:
        ran = server.run("server", "start", server.name, check=False)
        assert ran.returncode in {1, 2}
        assert re.fullmatch(rf"error: .*{words}.*\n", ran.stderr), ran.stderr
        assert host.interfaces() == ["lo"]

    token = server.config / "api.token"
    refused("there is no such token")
    token.touch(0o644)
    token.write_text("0123456789abcdef" * 4)
    refused("token: mode 0644")
    token.chmod(0o600)
    refused(r"api\.key.*No such file")
    certificate, _ = write_certificate(server.config, "127.0.0.1")
    text = certificate.read_text()
    certificate.write_text("nothing")
    refused("no certificate and its private key")
    certificate.write_text(text)
    server.start()
    listening = host.run(["ss", "-Hltn"]).stdout
    assert listening.count("\n") == 1
    assert "127.0.0.1:8443" in listening
    assert "0123456789abcdef" not in server.runtime.joinpath(f"{server.name}.log").read_text()
    server.stop()


def test_a_server_listens_on_no_port_by_itself(server: Wgbind, host: Namespace) -> None:
    server.start()
    assert host.run(["ss", "-Hltn"]).stdout == ""
