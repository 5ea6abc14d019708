"""Interface names and the places of files."""

from pathlib import Path

import pytest

from wgbind.errors import InputError
from wgbind.settings.paths import Paths, parse_interface_name


@pytest.mark.parametrize("name", ["wg0", "a", "A_b=c+d.e-f", "x" * 15, "...", ".a"])
def test_a_name_that_wg_quick_takes(name: str) -> None:
    assert parse_interface_name(name) == name
    assert Paths.of(name).settings.name == f"{name}.toml"


@pytest.mark.parametrize(
    "name", ["", "x" * 16, ".", "..", "a/b", "a b", "wg0\n", "wg0\0", "wg:0", "é", "../wg0", "a*"]
)
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(
        InputError, match=r"interface name .* use 1 to 15 of the characters"
    ) as error:
        Paths.of(name)
    assert "\n" not in str(error.value)


def test_default_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("CONFIG", "STATE", "RUN"):
        monkeypatch.setenv(f"WGBIND_{kind}_DIR", "")
    paths = Paths.of("wg0")
    assert paths.settings == Path("/etc/wgbind/wg0.toml")
    assert paths.private_key == Path("/etc/wgbind/wg0.key")
    assert paths.database == Path("/var/lib/wgbind/wgbind.db")
    assert paths.control_socket == Path("/run/wgbind/wg0.sock")
    assert paths.lock == Path("/run/wgbind/wg0.lock")
    assert paths.record == Path("/run/wgbind/wg0.json")
    assert paths.log == Path("/run/wgbind/wg0.log")


def test_folders_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WGBIND_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WGBIND_STATE_DIR", "state")
    monkeypatch.chdir(tmp_path)
    paths = Paths.of("wg0")
    monkeypatch.chdir("/")
    assert paths.settings == tmp_path / "config" / "wg0.toml"
    assert paths.database == tmp_path / "state" / "wgbind.db"
