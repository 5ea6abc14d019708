"""A server in this process whose API is served every way there is."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.certificate import write_certificate
from harness.names import interface_name
from harness.namespace import Namespace
from wgbind import Server
from wgbind.settings.paths import Paths


@dataclass(frozen=True)
class Api:
    """A running server, and what it takes to call it over TCP."""

    server: Server
    url: str
    token: str
    token_file: Path
    certificate: Path


def make_server(folder: Path, *changes: tuple[str, str]) -> Server:
    """Make the settings of a server with two groups and a port of its own; it does not run.

    Args:
        folder: Where its folders are made.
        changes: Texts to replace in its settings.
    """
    name = interface_name()
    server = Server(paths=Paths(name, folder / "config", folder / "state", folder / "run"))
    server.init()
    text = server.paths.settings.read_text()
    for old, new in (
        ("listen_port = 51820", "listen_port = 0"),
        ("/24", "/20"),  # room for a few thousand peers
        ("\ngroups = []", '\ngroups = ["staff", "guests"]'),
        *changes,
    ):
        assert old in text, old
        text = text.replace(old, new, 1)
    server.paths.settings.write_text(text)
    return server


def listening(url: str) -> list[tuple[str, str]]:
    """Return the changes of the settings that serve the API there, by files beside them."""
    place = url.removeprefix("https://")
    return [
        ("# certificate_file", "certificate_file"),
        ('# key_file = "api.key"', 'key_file = "api.key"'),
        ("# token_file", "token_file"),
        ('# listen = "192.0.2.1:8443"', f'listen = "{place}"'),
    ]


@contextmanager
def running_api(folder: Path) -> Iterator[Api]:
    """Run a server in this process, with its API on a TCP port of loopback, too.

    This thread is on a host of its own meanwhile: other processes of the tests, and their servers
    with the same networks, are not.
    """
    address = "127.0.0.1"
    url = f"https://{address}:8443"
    with Namespace("api") as host, host.inside():
        server = make_server(folder, *listening(url))
        certificate, _ = write_certificate(server.paths.config_dir, address)
        token, token_file = secrets.token_hex(32), server.paths.config_dir / "api.token"
        token_file.touch(0o600)
        token_file.write_text(f"{token}\n")
        with server:
            yield Api(server, url, token, token_file, certificate)
