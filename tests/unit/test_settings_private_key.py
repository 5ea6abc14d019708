"""The file of the server's private key."""

import os
from pathlib import Path

import pytest

from wgbind.errors import ConflictError, NotFoundError, SettingsError
from wgbind.settings.model import ServerSettings
from wgbind.settings.paths import Paths
from wgbind.settings.private_key import (
    create_private_key,
    private_key_path,
    read_private_key,
)


def test_a_new_key_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "wg0.key"
    old = os.umask(0)
    try:
        key = create_private_key(path)
    finally:
        os.umask(old)
    assert read_private_key(path) == key
    assert path.read_text() == f"{key.reveal()}\n"
    assert path.stat().st_mode & 0o7777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "wg0.key"
    key = create_private_key(path)
    with pytest.raises(ConflictError, match="there is a private key already"):
        create_private_key(path)
    assert read_private_key(path) == key


def test_a_dangling_symlink_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "wg0.key"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConflictError):
        create_private_key(path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "wg0.key"
    key = create_private_key(path)
    path.chmod(mode)
    with pytest.raises(SettingsError, match=f"mode {mode:04o} lets other users in; chmod") as error:
        read_private_key(path)
    assert key.reveal() not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xff" * 44, b"secret", b"A" * 200])
def test_what_is_no_key_does_not_show(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wg0.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError) as error:
        read_private_key(path)
    assert str(error.value) == f"{path}: it holds no private key; `wgbind key gen` makes one"
    assert error.value.__suppress_context__


def test_no_file_and_no_plain_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no such private key"):
        read_private_key(tmp_path / "wg0.key")
    with pytest.raises(SettingsError, match="name a plain file"):
        read_private_key(tmp_path)
    with pytest.raises(SettingsError, match="check the folder"):
        create_private_key(tmp_path / "no" / "wg0.key")


def test_where_the_key_is(tmp_path: Path) -> None:
    paths = Paths("wg0", tmp_path, tmp_path, tmp_path)

    def path(name: str | None) -> Path:
        interface = {"addresses": ["10.0.0.1/24"], "private_key_file": name}
        return private_key_path(paths, ServerSettings.model_validate({"interface": interface}))

    assert path(None) == tmp_path / "wg0.key"
    assert path("secret.key") == tmp_path / "secret.key"
    assert path("/run/secret.key") == Path("/run/secret.key")
