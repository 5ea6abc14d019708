"""`wgbind config`: a server of a file of wg-quick, and such a file of a server."""

import json
from pathlib import Path

import pytest

from unit.command import Wgbind, refused
from unit.wg_quick_files import ANGRISTAN, EVERYTHING, FILES, INTERFACE, KEYS, PRIVATE_KEY, WG_EASY
from wgbind.settings import toml


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "wg7.conf"


def everything_in(folders: dict[str, Path]) -> dict[str, bytes]:
    """The content of each file in the folders of configuration and state."""
    return {
        str(path): path.read_bytes()
        for kind in ("CONFIG", "STATE")
        for path in folders[f"WGBIND_{kind}_DIR"].rglob("*")
        if path.is_file()
    }


def test_import_makes_settings_key_and_peers(
    wgbind: Wgbind, private_dirs: dict[str, Path], file: Path
) -> None:
    file.write_text(EVERYTHING)
    done = wgbind("config", "import", str(file))
    assert (done.code, done.out.splitlines()[-1]) == (0, "Next: wgbind server start wg7")
    config = private_dirs["WGBIND_CONFIG_DIR"]
    assert config.joinpath("wg7.key").read_text() == f"{PRIVATE_KEY}\n"
    for path in (config / "wg7.toml", config / "wg7.key"):
        assert path.stat().st_mode & 0o777 == 0o600
    settings = toml.load(config / "wg7.toml")
    assert settings.interface.listen_port == 51821
    assert settings.routing.table == 1234
    assert settings.wg_quick.post_up == ("echo post-up %i; true", "echo again")
    assert not settings.wg_quick.run_hooks
    peers = wgbind("peer", "list", "--server", "wg7", "--json").json()
    assert [peer["name"] for peer in peers] == ["laptop", "wg-TrMvSoP4", "wg-gN65BkIK"]
    assert peers[0]["endpoint"] == "vpn.example.org:51820"
    # It is there now, and stays.
    before = everything_in(private_dirs)
    refused(wgbind("config", "import", str(file)), 1, "wg7.toml", "--name")
    assert everything_in(private_dirs) == before


def test_dry_run_shows_all_and_writes_nothing(
    wgbind: Wgbind, private_dirs: dict[str, Path], file: Path
) -> None:
    file.write_text(ANGRISTAN)
    shown = wgbind("config", "import", str(file), "--name", "wg0", "--dry-run")
    assert shown.code == 0
    assert 'preset = ["gateway", "hub"]' in shown.out
    assert "alice" in shown.out
    assert f"{file}:8: PostUp: iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE: not run;" in (
        shown.err
    )
    assert 'preset "gateway" does the same' in shown.err
    assert "MASQUERADE" in shown.out  # in the settings, switched off
    assert PRIVATE_KEY not in shown.out + shown.err
    assert everything_in(private_dirs) == {}
    as_json = wgbind("config", "import", str(file), "--dry-run", "--json").json()
    assert (as_json["name"], as_json["written"]) == ("wg7", False)
    assert [peer["name"] for peer in as_json["peers"]] == ["alice", "bob"]
    assert PRIVATE_KEY not in json.dumps(as_json)


@pytest.mark.parametrize(
    ("options", "text", "preset"),
    [
        ([], WG_EASY, ("gateway", "hub")),
        ([], FILES["pivpn"], ("hub",)),
        (["--preset", "isolated"], WG_EASY, ("isolated",)),
    ],
)
def test_the_policy_does_what_the_hooks_did(
    wgbind: Wgbind,
    private_dirs: dict[str, Path],
    file: Path,
    options: list[str],
    text: str,
    preset: tuple[str, ...],
) -> None:
    file.write_text(text)
    assert wgbind("config", "import", str(file), "--name", "wg0", *options).code == 0
    settings = toml.load(private_dirs["WGBIND_CONFIG_DIR"] / "wg0.toml")
    assert settings.policy.preset == preset


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (INTERFACE.replace("PrivateKey", "# PrivateKey"), ["PrivateKey", "missing"]),
        (INTERFACE.replace("Address", "# Address"), ["wg7.conf: key Address: it is missing"]),
        (INTERFACE.replace("66.1/24", "66.0/24"), ["wg7.conf:2: key Address", "10.66.66.1/24"]),
        (INTERFACE.replace("66.1/24", "66.1/24, 10.66.0.1/16"), ["wg7.conf:2", "overlaps"]),
        (INTERFACE.replace("66.1/24", "66.1/24, 10.66.66.1"), ["wg7.conf:2", "twice"]),
        (f"{INTERFACE}MTU = 600\n", ["wg7.conf:5: key MTU", "1280"]),
        (f"{INTERFACE}#: policy.presets = []\n", ["policy.presets"]),
        (f"{INTERFACE}#: store.url = 'x'\n", ["store", "remove it"]),
        (f"{INTERFACE}#: [\n", ["not TOML"]),
        (
            f"{INTERFACE}[Peer]\nPublicKey = {KEYS[0]}\nAllowedIPs = 10.66.66.1/32\n",
            ["wg7.conf:5", "10.66.66.1/32 is the server's own address"],
        ),
        (
            f"{INTERFACE}[Peer]\n#: groups = ['staff']\nPublicKey = {KEYS[0]}\n",
            ["wg7.conf:5", "staff"],
        ),
        (f"{INTERFACE}[Peer]\nPublicKey = {'A' * 43}=\n", ["wg7.conf:5", "low order"]),
    ],
)
def test_what_is_wrong_leaves_nothing_behind(
    wgbind: Wgbind, private_dirs: dict[str, Path], file: Path, text: str, words: list[str]
) -> None:
    file.write_text(text)
    refused(wgbind("config", "import", str(file)), 2, *words)
    assert everything_in(private_dirs) == {}


def test_a_cut_off_import_is_done_anew(
    wgbind: Wgbind, private_dirs: dict[str, Path], file: Path
) -> None:
    file.write_text(ANGRISTAN)
    assert wgbind("config", "import", str(file), "--name", "wg0").code == 0
    settings = private_dirs["WGBIND_CONFIG_DIR"] / "wg0.toml"
    settings.unlink()
    assert wgbind("config", "import", str(file), "--name", "wg0").code == 0
    assert [peer["name"] for peer in wgbind("peer", "list", "--json").json()] == ["alice", "bob"]
    # What is of somebody else is not touched: another key, peers that the file does not have.
    settings.unlink()
    before = everything_in(private_dirs)
    file.write_text(ANGRISTAN.replace(PRIVATE_KEY, "A" + PRIVATE_KEY[1:]))
    refused(wgbind("config", "import", str(file), "--name", "wg0"), 1, "wg0.key")
    file.write_text(INTERFACE)
    refused(wgbind("config", "import", str(file), "--name", "wg0"), 1, "alice")
    assert everything_in(private_dirs) == before


def test_export_writes_for_its_owner_alone(initialised: Wgbind, tmp_path: Path) -> None:
    assert initialised("peer", "add", "phone", "--no-qr").code == 0
    out = tmp_path / "wg0.conf"
    assert initialised("config", "export", "--out", str(out)).code == 0
    assert out.stat().st_mode & 0o777 == 0o600
    text = out.read_text()
    assert "# Name = phone\n" in text
    assert "PrivateKey = " in text
    refused(initialised("config", "export", "--out", str(out)), 1, "--force")
    assert initialised("config", "export", "--out", str(out), "--force").code == 0
    printed = initialised("config", "export")
    assert (printed.code, printed.out) == (0, text)
    client = initialised("config", "export", "--peer", "phone")
    assert "# PrivateKey = your private key" in client.out
    refused(initialised("config", "export", "--peer", "nobody"), 1, "nobody")


def test_standard_input_needs_a_name(wgbind: Wgbind) -> None:
    refused(wgbind("config", "import", "-", stdin=ANGRISTAN), 2, "--name")
    assert wgbind("config", "import", "-", "--name", "wg1", stdin=ANGRISTAN).code == 0
