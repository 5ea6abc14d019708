"""The installed `wgbind` command on one host, with files of its own."""

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.names import interface_name
from harness.namespace import Namespace
from harness.wait import wait_until
from harness.wireguard_go import program


class Wgbind:
    """One server, by the commands that a person types.

    Args:
        namespace: Its host.
        folder: Where its configuration, state and run-time folders are made.
        name: Name of server and interface; a new one unless given.
    """

    def __init__(self, namespace: Namespace, folder: Path, name: str | None = None) -> None:
        self.namespace = namespace
        self.name = name or interface_name()
        self.config, self.state, self.runtime = folder / "config", folder / "state", folder / "run"
        self.env = {
            **os.environ,
            "WGBIND_CONFIG_DIR": str(self.config),
            "WGBIND_STATE_DIR": str(self.state),
            "WGBIND_RUN_DIR": str(self.runtime),
            "COLUMNS": "200",
        }
        namespace.owns(self.name)

    @property
    def settings(self) -> Path:
        """Its settings file."""
        return self.config / f"{self.name}.toml"

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """Return `wgbind ARGUMENTS` with the installed program's path."""
        return [program("wgbind"), *arguments]

    def run(
        self,
        *arguments: str,
        check: bool = True,
        text: str | None = None,
        before: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run `wgbind ARGUMENTS`, behind the words of `before` (such as `unshare`)."""
        argv = [*before, *self.command(*arguments)]
        return self.namespace.run(argv, check=check, text=text, env=self.env)

    def rewrite(self, *changes: tuple[str, str]) -> None:
        """Replace texts in the settings file; each must be there."""
        text = self.settings.read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        self.settings.write_text(text)

    def start(self, *, before: Sequence[str] = ()) -> str:
        """Start the server; return what that printed."""
        return self.run("server", "start", self.name, before=before).stdout

    def stop(self) -> None:
        """Stop the server."""
        self.run("server", "stop", self.name)

    def kill(self) -> None:
        """Kill the server; return when nothing of its process is left, its interface neither."""
        os.kill(self.status()["pid"], signal.SIGKILL)
        wait_until(
            lambda: (
                self.name not in self.namespace.interfaces() and self.status()["state"] == "stopped"
            ),
            f"the end of {self.name}",
        )

    def status(self) -> dict[str, Any]:
        """Return what `wgbind server status --json` says."""
        printed = self.run("server", "status", self.name, "--json").stdout
        status: dict[str, Any] = json.loads(printed)
        return status

    def peer(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `wgbind peer COMMAND --server NAME ...`."""
        command, *rest = arguments
        return self.run("peer", command, "--server", self.name, *rest, check=check)

    def peers(self) -> list[dict[str, Any]]:
        """Return what `wgbind peer list --json` says."""
        peers: list[dict[str, Any]] = json.loads(self.peer("list", "--json").stdout)
        return peers

    def configured_peers(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Return each peer's public key and allowed IPs by its name."""
        return {
            peer["name"]: (peer["public_key"], tuple(peer["allowed_ips"])) for peer in self.peers()
        }

    def peer_status(self, name: str) -> dict[str, Any]:
        """Return one peer's part of the status."""
        (peer,) = (peer for peer in self.status()["peers"] if peer["name"] == name)
        return dict(peer)

    def add_peer(self, name: str, *options: str) -> str:
        """Add a peer; return the client configuration as it was printed, without its QR code."""
        printed = self.peer("add", name, *options).stdout
        assert "[Interface]" in printed, printed
        lines = printed[printed.index("[Interface]") :].splitlines()
        return "\n".join(line for line in lines if not set(line) & set("█▀▄")) + "\n"
