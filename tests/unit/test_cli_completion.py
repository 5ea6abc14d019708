"""What bash completes: Typer's script in a real shell."""

import os
import subprocess
from pathlib import Path

import pytest

from harness import program
from unit.command import Wgbind

SCRIPT = r"""
eval "$(wgbind --show-completion)"
COMP_WORDS=({line})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
{end}
_wgbind_completion wgbind
printf '%s\n' "${{COMPREPLY[@]}}"
"""


def complete(line: str) -> list[str]:
    """Return what bash offers for the last word of `line`, which a space behind it begins."""
    end = 'COMP_WORDS+=(""); COMP_CWORD=$((COMP_CWORD + 1))' if line.endswith(" ") else ""
    env = {**os.environ, "PATH": f"{Path(program('wgbind')).parent}:{os.environ['PATH']}"}
    ran = subprocess.run(
        ["bash", "--norc", "-c", SCRIPT.format(line=line, end=end)],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran
    return ran.stdout.split()


@pytest.fixture
def peopled(grouped: Wgbind) -> Wgbind:
    for name in ("alice", "albert", "bob"):
        grouped("peer", "add", name)
    assert grouped("server", "init", "home").code == 0
    return grouped


@pytest.mark.usefixtures("peopled")
def test_names_are_completed() -> None:
    assert complete("wgbind peer show al") == ["albert", "alice"]
    assert complete("wgbind peer remove bob ") == ["albert", "alice", "bob"]
    assert complete("wgbind server status ") == ["home", "wg0"]
    assert complete("wgbind peer list --group g") == ["guests"]
    assert complete("wgbind peer show --server home a") == []
    assert complete("wgbind peer list --server h") == ["home"]
    assert complete("wgbind peer rem") == ["remove"]
    assert "--silent-since" in complete("wgbind peer disable --s")
