"""Clients' private keys that are stored, and the key they are sealed with is gone."""

from pathlib import Path

import pytest

from unit.command import Wgbind, refused


@pytest.fixture
def bereft(initialised: Wgbind, private_dirs: dict[str, Path]) -> Wgbind:
    """A server with two peers whose private keys nobody can open."""
    folder = private_dirs["WGBIND_CONFIG_DIR"]
    settings = folder / "wg0.toml"
    text = settings.read_text()
    settings.write_text(text.replace("store_private_keys = false", "store_private_keys = true"))
    for name in ("a", "b"):
        assert "PrivateKey = " in initialised("peer", "add", name).out
    (folder / "stored-private-keys.key").unlink()
    return initialised


@pytest.mark.parametrize(
    "command",
    [
        ["list"],
        ["list", "--json"],
        ["list", "--match", "a"],
        ["show", "a"],
        ["set", "a", "--description", "x"],
        ["set", "a", "b", "--notes", "x"],
        ["disable", "--match", "*"],
        ["enable", "a", "b"],
        ["export"],
        ["export", "a", "b", "--format", "csv"],
        ["remove", "a", "b", "--yes"],
    ],
)
def test_who_needs_no_private_key_goes_on(bereft: Wgbind, command: list[str]) -> None:
    done = bereft("peer", *command)
    assert done.code == 0, done
    assert "stored-private-keys.key" not in done.err


@pytest.mark.parametrize(
    "command",
    [
        ["config", "a"],
        ["config", "a", "--json"],
        ["qr", "a"],
        ["export", "--secrets"],
        ["export", "a", "--secrets"],
        ["rotate", "a", "--yes"],
        ["add", "c"],
    ],
)
def test_who_needs_one_is_told_what_is_missing(bereft: Wgbind, command: list[str]) -> None:
    said = ("stored-private-keys.key: the key of the stored private keys is missing", "restore")
    refused(bereft("peer", *command), 1, *said)
    assert [peer["name"] for peer in bereft("peer", "list", "--json").json()] == ["a", "b"]


def test_a_document_needs_none(bereft: Wgbind, tmp_path: Path) -> None:
    path = tmp_path / "document.toml"
    path.write_text('[peers.a]\ndescription = "x"\n')
    assert bereft("apply", str(path), "--prune", "--yes").code == 0
    assert bereft("peer", "show", "a").code == 0
