"""The help of each command is the one that was looked at: tests/help holds it."""

import pytest

from unit.help_texts import FOLDER, commands, help_text, path_of

COMMANDS = commands()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_as_it_was_looked_at(command: str) -> None:
    found = help_text(command)
    assert "Exit codes: 0 done, 1 refused or failed, 2 wrong input." in found
    assert max(map(len, found.splitlines())) <= 80
    assert found == path_of(command).read_text(), "look at it, then run `make help-texts`"


def test_no_text_is_of_a_command_that_is_gone() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {path_of(each).name for each in COMMANDS}
