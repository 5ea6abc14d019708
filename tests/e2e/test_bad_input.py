"""What is wrong ends in one clear line and exit code 1 or 2, and changes nothing."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Namespace, Wgbind, files, host_state

LOW_ORDER = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
"""The point 0, which makes every shared secret 0 (RFC 7748, section 6.1)."""

SOMEBODY = "hU1CIDVb6JYcQoFAVrKbYNIeWkfYHcWNDBRCZWPhpVY="

WITHOUT_TUN = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"]
WITHOUT_PRIVILEGE = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Wgbind]:
    """A configured server that is stopped, with the peer `phone`."""
    with Namespace("server") as host:
        server = Wgbind(host, tmp_path)
        server.run("server", "init", server.name)
        server.peer("add", "phone")
        yield server


def refuse(
    server: Wgbind, code: int, words: list[str], *arguments: str, before: list[str] | None = None
) -> None:
    """Run a command that has to fail with `code` and one line that has all of `words`."""
    host, folder = host_state(server.namespace), files(server.config.parent)
    result = server.run(*arguments, check=False, before=before or [])
    assert result.returncode == code, result
    assert result.stderr.startswith("error: "), result
    assert result.stderr.count("\n") == 1, result
    assert [word for word in words if word not in result.stderr] == [], result
    assert host_state(server.namespace) == host
    assert files(server.config.parent) == folder


def test_unknown_key_in_the_settings(server: Wgbind) -> None:
    server.rewrite(("listen_port =", "listen_prot ="))
    words = [f"{server.settings}:", "interface.listen_prot", "listen_port"]
    refuse(server, 2, words, "server", "start", server.name)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("mtu = 1420", "mtu = 99", "99"),
        ("listen_port = 51820", "listen_port = 65536", "65536"),
        ("listen_port = 51820", 'listen_port = "many"', "many"),
        ("[interface]", "[interface", "TOML"),
    ],
)
def test_bad_value_in_the_settings(server: Wgbind, old: str, new: str, word: str) -> None:
    server.rewrite((old, new))
    refuse(server, 2, [f"{server.settings}:", word], "server", "start", server.name)


def test_overlapping_addresses_in_the_settings(server: Wgbind) -> None:
    text = server.settings.read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("addresses ="))
    server.rewrite((line, 'addresses = ["10.9.0.1/24", "10.9.0.129/25"]'))
    words = ["interface.addresses", "10.9.0.129/25", "10.9.0.1/24"]
    refuse(server, 2, words, "server", "start", server.name)


def test_broken_private_key_file(server: Wgbind) -> None:
    key = server.config / f"{server.name}.key"
    key.write_text("this is no key\n")
    refuse(server, 2, [str(key)], "server", "start", server.name)


def test_taken_port(server: Wgbind) -> None:
    script = Path(__file__).parents[1] / "harness" / "udp_stream.py"
    holder = server.namespace.popen([sys.executable, str(script), "receive", "4", "51820"])
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    refuse(server, 1, ["51820"], "server", "start", server.name)


def test_taken_interface_name(server: Wgbind) -> None:
    server.namespace.ip("link", "add", server.name, "type", "veth")
    refuse(server, 1, [server.name], "server", "start", server.name)


def test_no_tun_device(server: Wgbind) -> None:
    refuse(server, 1, ["/dev/net/tun"], "server", "start", server.name, before=WITHOUT_TUN)


def test_no_privilege(server: Wgbind) -> None:
    words = ["root", "CAP_NET_ADMIN"]
    refuse(server, 1, words, "server", "start", server.name, before=WITHOUT_PRIVILEGE)


@pytest.mark.parametrize("command", ["server start NAME", "peer list --server NAME"])
def test_broken_store_file(server: Wgbind, command: str) -> None:
    database = server.state / "wgbind.db"
    database.write_bytes(b"This is not a database." * 1000)
    arguments = command.replace("NAME", server.name).split()
    refuse(server, 1, [str(database)], *arguments)


def test_duplicate_peer_name(server: Wgbind) -> None:
    refuse(server, 1, ["phone"], "peer", "add", "--server", server.name, "phone")


def test_duplicate_public_key(server: Wgbind) -> None:
    (phone,) = server.peers()
    key = phone["public_key"]
    add = ("peer", "add", "--server", server.name, "tablet", "--public-key", key)
    refuse(server, 1, ["phone"], *add)


@pytest.mark.parametrize("key", [LOW_ORDER, "abc", SOMEBODY[:-1], SOMEBODY + "="])
def test_bad_public_key(server: Wgbind, key: str) -> None:
    add = ("peer", "add", "--server", server.name, "tablet", "--public-key", key)
    refuse(server, 2, ["public"], *add)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 64, "-x", "a\nb"])
def test_bad_peer_name(server: Wgbind, name: str) -> None:
    refuse(server, 2, ["name"], "peer", "add", "--server", server.name, "--", name)


@pytest.mark.parametrize("name", ["a" * 16, "a/b", "..", "a b"])
@pytest.mark.parametrize("command", ["server start", "server init", "peer list --server"])
def test_bad_interface_name(server: Wgbind, command: str, name: str) -> None:
    refuse(server, 2, ["name", repr(name)], *command.split(), name)


def test_unknown_peer_and_server(server: Wgbind) -> None:
    for command in ("show", "remove"):
        refuse(server, 1, ["nobody"], "peer", command, "--server", server.name, "nobody")
    refuse(server, 1, ["nowhere"], "peer", "list", "--server", "nowhere")
    refuse(server, 1, [server.name], "server", "stop", server.name)


def test_wrong_settings_leave_a_running_server_as_it_is(server: Wgbind) -> None:
    server.start()
    (started_at, peers) = (server.status()["started_at"], server.status()["peers"])
    server.rewrite(("mtu = 1420", "mtu = 99"))
    refuse(server, 2, ["99"], "server", "reload", server.name)
    after = server.status()
    assert (after["state"], after["mtu"]) == ("running", 1420)
    assert (after["started_at"], after["peers"]) == (started_at, peers)
