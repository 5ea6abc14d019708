"""The command line on a stopped server: what it prints, where, and how it ends."""

import re
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from unit.command import Wgbind, refused
from wgbind import PrivateKey, Server
from wgbind.cli import output


def test_without_a_command_the_help_comes(wgbind: Wgbind) -> None:
    for arguments in ((), ("server",), ("peer",), ("firewall",), ("key",)):
        outcome = wgbind(*arguments)
        assert outcome.code == 2
        assert outcome.err.startswith("Usage: wgbind")
        assert "Commands:" in outcome.err


def test_version(wgbind: Wgbind) -> None:
    assert re.fullmatch(r"wgbind [0-9]+\.[0-9]+\.[0-9]+\S*\n", wgbind("--version").out)


@pytest.mark.parametrize(
    "command",
    [
        "nonsense",
        "server nonsense",
        "server start --nonsense",
        "peer add",
        "peer add a b",
        "peer list --server",
        "server status aaaaaaaaaaaaaaaa",
    ],
)
def test_wrong_command_line_ends_with_2(wgbind: Wgbind, command: str) -> None:
    refused(wgbind(*command.split()), 2)


def test_word_that_is_none_of_the_choices_is_told_in_plain_words(wgbind: Wgbind) -> None:
    outcome = wgbind("peer", "list", "--state", "bogus")
    refused(outcome, 2, "--state", "'bogus'", "'connected'")
    assert "Value error" not in outcome.err  # pydantic's, by which Typer reads choices


def test_keys(wgbind: Wgbind) -> None:
    private = wgbind("key", "gen").out.strip()
    public = wgbind("key", "pub", stdin=f"{private}\n").out.strip()
    assert public == str(PrivateKey(private).public_key())
    assert wgbind("key", "pub", "--json", stdin=private).json() == {"public_key": public}
    assert set(wgbind("key", "gen", "--json").json()) == {"private_key"}
    assert set(wgbind("key", "psk", "--json").json()) == {"preshared_key"}
    assert len(wgbind("key", "psk").out) == len("=\n") + 43


@pytest.mark.parametrize("text", ["", "abc", "x" * 44])
def test_wrong_private_key_is_not_repeated(wgbind: Wgbind, text: str) -> None:
    outcome = wgbind("key", "pub", stdin=text)
    refused(outcome, 2, "key")
    assert not text or text not in outcome.err


def test_secret_in_a_file_that_others_read_is_warned_of(
    wgbind: Wgbind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mode, warned in ((0o600, False), (0o644, True)):
        file = tmp_path / f"key{mode:o}"
        file.touch()
        file.chmod(mode)
        with file.open("w") as opened, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", opened)
            assert ("warning" in wgbind("key", "gen").err) is warned


def test_init_says_what_it_chose_and_never_overwrites(
    wgbind: Wgbind, private_dirs: dict[str, Path]
) -> None:
    settings = private_dirs["WGBIND_CONFIG_DIR"] / "wg0.toml"
    key = private_dirs["WGBIND_CONFIG_DIR"] / "wg0.key"
    made = wgbind("server", "init")
    assert made.code == 0
    assert made.err == ""
    for word in (str(settings), "addresses", "51820", "wgbind server start"):
        assert word in made.out
    assert key.stat().st_mode & 0o777 == 0o600
    before = settings.read_text(), key.read_text()
    assert key.read_text().strip() not in made.out

    refused(wgbind("server", "init"), 1, str(settings))
    settings.unlink()
    refused(wgbind("server", "init"), 1, str(key))
    assert key.read_text() == before[1]
    assert not settings.exists()


def test_status_of_a_stopped_server(initialised: Wgbind) -> None:
    human = initialised("server", "status")
    assert human.code == 0
    assert human.out.startswith("wg0 is stopped\n")
    status = initialised("server", "status", "--json").json()
    assert (status["state"], status["pid"], status["peers"]) == ("stopped", None, [])
    assert status["public_key"] in human.out


def test_what_needs_a_running_server_is_refused(initialised: Wgbind) -> None:
    refused(initialised("server", "reload"), 1, "wg0", "does not run", "wgbind server start wg0")


@pytest.mark.parametrize("command", ["server status", "peer list", "peer add x", "peer show x"])
def test_server_without_settings(wgbind: Wgbind, command: str) -> None:
    refused(wgbind(*command.split()), 1, "wg0.toml", "wgbind server init wg0")


def test_peer_add_prints_the_configuration_alone(initialised: Wgbind) -> None:
    added = initialised("peer", "add", "phone")
    assert added.code == 0
    lines = added.out.splitlines()
    assert lines[0] == "[Interface]"
    assert all(re.fullmatch(r"|\[[A-Z][a-z]+\]|(# )?[A-Za-z]+ = .+", line) for line in lines)
    (private_key,) = re.findall(r"PrivateKey = (.+)", added.out)
    (peer,) = Server("wg0").peers.list()
    assert peer.public_key == PrivateKey(private_key).public_key()
    assert peer.private_key is None
    assert "Endpoint" in added.err


def test_private_key_is_shown_once(initialised: Wgbind) -> None:
    added = initialised("peer", "add", "phone")
    again = initialised("peer", "config", "phone")
    assert again.code == 0
    assert "not stored" in again.err
    assert re.sub(r"PrivateKey = .*", "", added.out) == re.sub(r"# PrivateKey.*", "", again.out)


def test_private_key_is_shown_again_if_the_settings_store_it(
    initialised: Wgbind, private_dirs: dict[str, Path]
) -> None:
    settings = private_dirs["WGBIND_CONFIG_DIR"] / "wg0.toml"
    text = settings.read_text()
    settings.write_text(text.replace("store_private_keys = false", "store_private_keys = true"))
    assert initialised("peer", "add", "phone").out == initialised("peer", "config", "phone").out


def test_qr_code_only_when_asked_or_on_a_terminal(initialised: Wgbind) -> None:
    assert "█" not in initialised("peer", "add", "one").out
    asked = initialised("peer", "add", "two", "--qr").out
    configuration, _, code = asked.partition("█")
    assert configuration.startswith("[Interface]\n")
    assert code.count("\n") > 20


def test_peer_with_its_own_keys_and_addresses(initialised: Wgbind) -> None:
    key = PrivateKey.generate().public_key()
    pool = Server("wg0").configuration().settings.interface.addresses[0]
    address = str(pool.network.network_address + 77)
    arguments = ("--public-key", str(key), "--address", address, "--route", "192.0.2.0/24")
    more = ("--keepalive", "25", "--no-psk", "--json")
    added = initialised("peer", "add", "site", *arguments, *more).json()
    assert added["peer"]["public_key"] == str(key)
    assert added["peer"]["persistent_keepalive"] == 25
    assert added["peer"]["allowed_ips"] == [f"{address}/32", "192.0.2.0/24"]
    assert added["peer"]["has_preshared_key"] is False
    assert "PresharedKey" not in added["configuration"]
    assert "# PrivateKey" in added["configuration"]


def test_peers_are_listed_shown_and_removed(initialised: Wgbind) -> None:
    assert "no peers" in initialised("peer", "list").err
    initialised("peer", "add", "phone")
    (listed,) = initialised("peer", "list", "--json").json()
    assert initialised("peer", "show", "phone", "--json").json() == listed
    assert initialised("peer", "show", listed["public_key"], "--json").json() == listed
    assert "phone" in initialised("peer", "list").out
    assert listed["public_key"] in initialised("peer", "show", "phone").out
    assert initialised("peer", "remove", "phone").out == "phone is removed from wg0.\n"
    refused(initialised("peer", "remove", "phone"), 1, "phone")
    assert initialised("peer", "list", "--json").json() == []


def test_servers_own_public_key_is_no_peers(initialised: Wgbind) -> None:
    own = Server("wg0").configuration().private_key.public_key()
    refused(initialised("peer", "add", "me", "--public-key", str(own)), 1, str(own), "own")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--public-key", "abc"), "public key"),
        (("--address", "10.0.0"), "10.0.0"),
        (("--address", "203.0.113.1"), "203.0.113.1"),
        (("--route", "192.0.2.1/24"), "192.0.2.0/24"),
    ],
)
def test_wrong_peer_changes_nothing(
    initialised: Wgbind, arguments: tuple[str, str], word: str
) -> None:
    refused(initialised("peer", "add", "site", *arguments), 2, word)
    assert initialised("peer", "list", "--json").json() == []


def test_endpoint_of_the_settings_stands_in_configurations(
    initialised: Wgbind, private_dirs: dict[str, Path]
) -> None:
    settings = private_dirs["WGBIND_CONFIG_DIR"] / "wg0.toml"
    text = re.sub(r"# endpoint = .*", 'endpoint = "vpn.example.org"', settings.read_text())
    settings.write_text(text)
    added = initialised("peer", "add", "phone")
    assert "Endpoint = vpn.example.org:51820\n" in added.out
    assert added.err == ""


def test_table_on_a_terminal_shows_text_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    output.print_table(("NAME",), [("a [/b] [red] :smile:",)])
    assert "a [/b] [red] :smile:" in capsys.readouterr().out


def test_output_in_words() -> None:
    sizes = {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 3 << 49: "1536.0 TiB"}
    assert {count: output.size(count) for count in sizes} == sizes
    assert output.size(None) == "-"
    spans = {0: "0 s", 59: "59 s", 61: "1 min 1 s", 7325: "2 h 2 min", 90000: "1 d 1 h"}
    assert {span: output.duration(timedelta(seconds=span)) for span in spans} == spans
    assert output.ago(None) == "never"
    assert output.ago(datetime.now(timezone.utc)) == "0 s ago"


def test_what_one_client_reaches_is_kept_and_changed(wgbind: Wgbind) -> None:
    wgbind("server", "init")
    added = wgbind("peer", "add", "phone", "--exclude", "128.0.0.0/1,::/0", "--dns", "9.9.9.9")
    assert "AllowedIPs = 0.0.0.0/1\n" in added.out
    assert "DNS = 9.9.9.9\n" in added.out
    changed = wgbind("peer", "set", "phone", "--allowed-ips", "10.0.0.0/8", "--exclude", "default")
    assert "wgbind peer config phone" in changed.out
    assert "AllowedIPs = 10.0.0.0/8\n" in wgbind("peer", "config", "phone").out

    refused = wgbind("peer", "add", "tablet", "--exclude", "0.0.0.0/0", "--exclude", "::/0")
    assert (refused.code, refused.out) == (2, "")
    assert "peer tablet: excluded_ips leave nothing of allowed_ips" in refused.err
    assert wgbind("peer", "set", "phone", "--exclude", "10.0.0.0/8").code == 2
    assert [peer["name"] for peer in wgbind("peer", "list", "--json").json()] == ["phone"]
