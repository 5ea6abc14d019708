"""What holds for all unit tests, and fixtures for those of the command."""

import sys
from pathlib import Path

import pytest

from unit.command import Outcome, Wgbind
from wgbind.cli import app


@pytest.fixture
def wgbind(
    private_dirs: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Wgbind:
    """Run the command in this process, on folders of its own."""

    def run(*arguments: str, stdin: str = "") -> Outcome:
        monkeypatch.setattr(sys, "argv", ["wgbind", *arguments])
        file = private_dirs["WGBIND_STATE_DIR"].parent / "stdin"
        file.write_text(stdin)
        with file.open() as opened:
            monkeypatch.setattr(sys, "stdin", opened)
            code = app.run()
        printed = capfd.readouterr()
        return Outcome(code, printed.out, printed.err)

    return run


@pytest.fixture
def initialised(wgbind: Wgbind) -> Wgbind:
    assert wgbind("server", "init").code == 0
    return wgbind


@pytest.fixture
def grouped(initialised: Wgbind, private_dirs: dict[str, Path]) -> Wgbind:
    """A server whose settings name two groups."""
    settings = private_dirs["WGBIND_CONFIG_DIR"] / "wg0.toml"
    text = settings.read_text()
    assert "\ngroups = []\n" in text
    settings.write_text(text.replace("\ngroups = []\n", '\ngroups = ["staff", "guests"]\n'))
    return initialised
