"""QR codes on the terminal."""

import re

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from wgbind.errors import InputError
from wgbind.settings.qr import terminal

QUIET_ZONE = 4


def dark_modules(shown: str) -> list[list[bool]]:
    """Read the code as a camera sees it: white blocks on black ground."""
    rows = []
    for line in shown.splitlines():
        coloured = re.fullmatch("\x1b\\[37;40;1m([ ▀▄█]+)\x1b\\[0m", line)
        assert coloured is not None
        rows.append([block in " ▄" for block in coloured[1]])
        rows.append([block in " ▀" for block in coloured[1]])
    return rows


@given(st.text(min_size=1, max_size=300))
def test_the_modules_are_those_of_the_code(text: str) -> None:
    rows = dark_modules(terminal(text))
    expected = [[bool(module) for module in row] for row in segno.make_qr(text, error="l").matrix]
    size = len(expected)
    code = [row[QUIET_ZONE : QUIET_ZONE + size] for row in rows[QUIET_ZONE : QUIET_ZONE + size]]
    assert code == expected
    assert {len(row) for row in rows} == {size + 2 * QUIET_ZONE}
    around = rows[:QUIET_ZONE] + rows[QUIET_ZONE + size : 2 * QUIET_ZONE + size]
    assert not any(any(row) for row in around)
    for row in rows[: size + 2 * QUIET_ZONE]:
        assert not any(row[:QUIET_ZONE] + row[-QUIET_ZONE:])


def test_too_much_text_is_refused() -> None:
    terminal("x" * 2953)
    with pytest.raises(InputError, match="2954 characters are too many for a QR code"):
        terminal("x" * 2954)
