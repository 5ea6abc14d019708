"""Other processes that call a running server, and what becomes of them and of it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Namespace, Wgbind, program
from harness.certificate import write_certificate
from wgbind.settings.api import ApiSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCUMENTATION = Path(__file__).parents[2].joinpath("docs", "api.md").read_text()

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


def test_the_examples_of_the_documentation_run(server: Wgbind) -> None:
    server.start()
    examples = re.findall(r"```python\n(.*?)```", DOCUMENTATION, re.DOTALL)
    assert len(examples) == 5
    for example in examples:
        code = example.replace('"wg0"', f'"{server.name}"')
        server.namespace.run([program("python"), "-W", "error", "-c", code], env=server.env)
    assert server.peers() == []
    for example in re.findall(r"```toml\n\[api\]\n(.*?)```", DOCUMENTATION, re.DOTALL):
        ApiSettings.model_validate(tomllib.loads(example))


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


class TestStrangers:
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
        for arguments in (["list"], ["show", "phone"], ["config", "phone"], ["remove", "phone"]):
            command, *rest = arguments
            code, _, errors = self.ask(server, "peer", command, "--server", server.name, *rest)
            assert code == 0, errors
        assert self.ask(server, "server", "status", server.name)[0] == 0
        if key == "socket_groups":
            assert self.ask(server, "server", "status", server.name, group=STRANGER + 2)[0] == 0
        assert server.settings.stat().st_mode & 0o077 == 0


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
