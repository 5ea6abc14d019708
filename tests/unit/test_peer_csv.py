"""Peers from a file in CSV: all of them or none, and where a mistake is."""

import stat
from collections.abc import Iterator
from datetime import datetime, timezone
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from wgbind import ConflictError, InputError, NewPeer, NotFoundError, PrivateKey, Server
from wgbind.cli import app
from wgbind.server.peer_csv import PeerTable

KEY = str(PrivateKey.generate().public_key())


@pytest.fixture
def server(private_dirs: dict[str, Path]) -> Iterator[Server]:
    settings = private_dirs["WGBIND_CONFIG_DIR"] / "wg0.toml"
    made = Server("wg0")
    made.init()
    text = settings.read_text()
    settings.write_text(text.replace("\ngroups = []\n", '\ngroups = ["staff", "guests"]\n'))
    yield made


def write(folder: Path, *lines: str) -> Path:
    path = folder / "peers.csv"
    path.write_text("".join(f"{line}\r\n" for line in lines))
    return path


def test_every_column(server: Server, tmp_path: Path) -> None:
    table = PeerTable(
        write(
            tmp_path,
            "name,public_key,address,route,group,endpoint,keepalive,psk,description,expires,"
            "allowed_ips,exclude,dns",
            f'a,{KEY},,192.168.7.0/24 192.168.8.0/24,staff guests,site.example:9,25,no,"one, two",'
            "2126-12-31,full,10.0.0.0/8,9.9.9.9",
            "",
            "b,,,,,,,,,,,,",
        )
    )
    assert table.names == ["a", "b"]
    a, b = table.add_to(server.peers)
    assert str(a.public_key) == KEY
    assert a.private_key is None
    assert a.preshared_key is None
    assert a.routed_networks == (ip_network("192.168.7.0/24"), ip_network("192.168.8.0/24"))
    assert a.groups == {"staff", "guests"}
    assert a.endpoint == ("site.example", 9)
    assert a.persistent_keepalive == 25
    assert a.description == "one, two"
    assert a.expires_at == datetime(2127, 1, 1, tzinfo=timezone.utc)
    assert a.client.allowed_ips == "full"
    assert a.client.excluded_ips == (ip_network("10.0.0.0/8"),)
    assert a.client.dns == (ip_address("9.9.9.9"),)
    assert b.private_key is not None
    assert b.preshared_key is not None
    assert b.expires_at is None


@pytest.mark.parametrize(
    ("lines", "place", "words"),
    [
        ((), 1, "column name is missing"),
        (("nam", "a"), 1, "column name is missing"),
        (("name,colour", "a,red"), 1, "'colour'"),
        (("name,group,group", "a,,"), 1, "'group'"),
        (("name,group", "a,staff", "b"), 3, "1 cells under 2 columns"),
        (("name,address", "a,", "b,10.0.0"), 3, "column address: '10.0.0'"),
        (("name,public_key", "a,x"), 2, "column public_key"),
        (("name,expires", "a,soon"), 2, "column expires"),
        (("name,keepalive", "a,-1"), 2, "column keepalive"),
        (("name,psk", "a,maybe"), 2, "column psk"),
        (("name,exclude", "a,10.0.0.1/8"), 2, "column exclude"),
        (("name,expires", "a,2020-01-01"), 2, "has passed"),
        (("name,group", "a,staff", "b,staf"), 3, "'staf'"),
        (("name", "a", "b/c"), 3, "'b/c'"),
        (("name,group", ",staff"), 2, "''"),
    ],
)
def test_a_mistake_is_named_by_its_line_and_nothing_is_added(
    server: Server, tmp_path: Path, lines: tuple[str, ...], place: int, words: str
) -> None:
    path = write(tmp_path, *lines)
    with pytest.raises(InputError) as error:
        PeerTable(path).add_to(server.peers)
    assert str(error.value).startswith(f"{path}:{place}: ")
    assert words in str(error.value)
    assert server.peers.list() == []


@pytest.mark.parametrize(
    "lines",
    [
        ("name", "a", "b", "a"),
        ("name,public_key", f"a,{KEY}", "b,", f"c,{KEY}"),
        ("name,route", "a,192.168.0.0/16", "b,", "c,192.168.0.0/16"),
    ],
)
def test_what_two_lines_claim(server: Server, tmp_path: Path, lines: tuple[str, ...]) -> None:
    path = write(tmp_path, *lines)
    with pytest.raises(ConflictError, match=r"peers\.csv:4: .*'a'|peers\.csv:4: .*a"):
        PeerTable(path).add_to(server.peers)
    assert server.peers.list() == []


def test_addresses_chosen_and_given_never_meet(server: Server) -> None:
    first = server.peers.add("first").addresses[0]
    added = server.peers.add_many(
        [
            NewPeer("b"),
            NewPeer("c", addresses=[first + 2]),
            NewPeer("d"),
            NewPeer("e", addresses=[first + 5]),
            NewPeer("f"),
            NewPeer("g"),
        ]
    )
    numbers = {peer.name: int(peer.addresses[0]) - int(first) for peer in added}
    assert numbers == {"b": 1, "c": 2, "d": 3, "e": 5, "f": 4, "g": 6}
    with pytest.raises(ConflictError, match="belongs to peer 'y'"):
        server.peers.add_many([NewPeer("x"), NewPeer("y"), NewPeer("z", addresses=[first + 8])])
    assert len(server.peers.list()) == 7


def test_many_are_changed_and_removed_or_none(server: Server) -> None:
    server.peers.add_many([NewPeer("a"), NewPeer("b"), NewPeer("c")])
    with pytest.raises(ConflictError, match="'c'"):
        server.peers.update_many({"a": {"description": "one"}, "b": {"name": "c"}})
    with pytest.raises(NotFoundError, match="'d'"):
        server.peers.remove_many(["a", "d"])
    assert [peer.description for peer in server.peers.list()] == ["", "", ""]
    changed = server.peers.update_many({"a": {"name": "d"}, "b": {"enabled": False}})
    assert [(peer.name, peer.enabled) for peer in changed] == [("d", True), ("b", False)]
    assert {peer.name for peer in server.peers.remove_many(["d", "b"])} == {"d", "b"}
    assert [peer.name for peer in server.peers.list()] == ["c"]


def test_the_command_hands_out_configurations(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, folder = write(tmp_path, "name", "a", "b"), tmp_path / "out"

    def add(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["wgbind", "peer", "add", *arguments])
        return app.run()

    assert add("--from", str(path)) == 2
    assert add("--from", str(path), "--out", str(folder), "--group", "staff") == 2
    assert server.peers.list() == []
    assert add("--from", str(path), "--out", str(folder)) == 0
    assert "2 peers are added" in capsys.readouterr().out
    for peer in server.peers.list():
        file = folder / f"{peer.name}.conf"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        (line,) = (line for line in file.read_text().splitlines() if line.startswith("PrivateKey"))
        private_key = PrivateKey(line.partition(" = ")[2])
        assert private_key.public_key() == peer.public_key
    path.write_text("name\nc\nb\n")
    assert add("--from", str(path), "--out", str(folder)) == 1
    assert "b.conf is there already" in capsys.readouterr().err
    assert len(server.peers.list()) == 2
