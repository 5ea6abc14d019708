"""Commands that wg-quick(8) would run beside a server: run only if the settings say so."""

from __future__ import annotations

import logging
import shutil
import subprocess
from typing import TYPE_CHECKING

from wgbind.errors import StateError

if TYPE_CHECKING:
    from wgbind.settings.wg_quick_section import WgQuickSettings

_log = logging.getLogger(__name__)

# wg-quick(8) waits without end; a start must not.
_PATIENCE_SECONDS = 60
_SHOWN = 200  # characters of what a command said


class Hooks:
    """The hooks of one server.

    Args:
        settings: What there is to run, and whether.
        interface: Stands for %i in them. It has no character that a shell knows.
    """

    def __init__(self, settings: WgQuickSettings, interface: str) -> None:
        self._hooks = settings.hooks if settings.run_hooks else {}
        self._interface = interface

    def run(self, key: str) -> None:
        """Run the commands of a key, "PreUp" or "PostUp", in order, up to the first that fails.

        Raises `StateError` for that one.
        """
        for command in self._hooks.get(key, ()):
            problem = self._run(command)
            if problem is not None:
                raise StateError(f"wg_quick: {key} {command!r}: {problem}; the start is given up")
            _log.info("%s: %s", key, command)

    def run_all(self, key: str) -> None:
        """Run the commands of a key, "PreDown" or "PostDown"; log those that fail."""
        for command in self._hooks.get(key, ()):
            problem = self._run(command)
            if problem is not None:
                _log.warning("%s %r: %s", key, command, problem)
            else:
                _log.info("%s: %s", key, command)

    def _run(self, command: str) -> str | None:
        """Run one, in the shell that wg-quick(8) is written in; say what went wrong."""
        shell = shutil.which("bash") or "/bin/sh"
        try:
            ended = subprocess.run(
                [shell, "-c", command.replace("%i", self._interface)],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"it has not ended after {_PATIENCE_SECONDS} s"
        except OSError as error:
            return f"{shell}: {error.strerror}"
        if ended.returncode == 0:
            return None
        said = " ".join(ended.stderr.decode("utf-8", "replace").split())[:_SHOWN]
        return f"it ended with {ended.returncode}" + (f": {said}" if said else "")
