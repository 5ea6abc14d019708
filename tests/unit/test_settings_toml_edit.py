"""A number in a settings file is changed in place, or the file stays as it is."""

from pathlib import Path

import pytest

from wgbind.errors import SettingsError
from wgbind.settings import toml
from wgbind.settings.toml_edit import set_interface_number

BEFORE = """\
# mine
[interface]   # of it
addresses = [
    "10.8.0.1/24",  # and no listen_port = 1
]
listen_port = 51820 # as ever
[policy]
forwards = ["udp/7777 -> 192.0.2.7"]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "wg0.toml"
    path.touch(0o600)
    path.write_text(BEFORE)
    return path


def test_all_else_stays(path: Path) -> None:
    set_interface_number(path, "listen_port", 7)
    assert path.read_text() == BEFORE.replace("51820", "7")
    assert path.stat().st_mode & 0o777 == 0o600


def test_key_that_is_not_there_gets_a_line(path: Path) -> None:
    set_interface_number(path, "fwmark", 99)
    assert path.read_text() == BEFORE.replace("# as ever\n", "# as ever\nfwmark = 99\n")


@pytest.mark.parametrize(
    "text",
    [
        'interface.addresses = ["10.8.0.1/24"]\ninterface.listen_port = 1\n',
        'interface = { addresses = ["10.8.0.1/24"], listen_port = 1 }\n',
        '[interface]\naddresses = ["10.8.0.1/24"]\n"listen_port" = 1\n',
        '[interface]\naddresses = ["10.8.0.1/24"]\nlisten_port = 0x1_0\n',
        'interface.addresses = ["10.8.0.1/24"]\n',
    ],
)
def test_other_ways_to_write_it(path: Path, text: str) -> None:
    path.write_text(text)
    set_interface_number(path, "listen_port", 7)
    assert toml.load(path).interface.listen_port == 7


@pytest.mark.parametrize(
    ("text", "value", "word"),
    [
        (BEFORE, 7777, "udp/7777"),  # it would be wrong then
        (BEFORE.replace("[policy]", "["), 7, "not TOML"),
    ],
)
def test_what_cannot_be_changed_stays(path: Path, text: str, value: int, word: str) -> None:
    path.write_text(text)
    with pytest.raises(SettingsError, match=word):
        set_interface_number(path, "listen_port", value)
    assert path.read_text() == text
