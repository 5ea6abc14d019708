"""What clients' configurations say: all, split, all but these; for peer, group and server."""

from dataclasses import replace
from datetime import datetime, timezone
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from wgbind.errors import InputError, SettingsError
from wgbind.keys import PrivateKey
from wgbind.server.client import client_configuration
from wgbind.settings import toml
from wgbind.settings.address import Endpoint
from wgbind.settings.client import ClientOverrides
from wgbind.settings.model import ServerSettings
from wgbind.settings.wg_quick import ClientConfiguration
from wgbind.store import Store
from wgbind.store.peer import Peer

SERVER_KEY = PrivateKey.generate().public_key()


def peer(number: int, *behind: str, groups: tuple[str, ...] = (), **client: Any) -> Peer:
    return Peer(
        server="wg7",
        name=f"peer{number}",
        public_key=PrivateKey.generate().public_key(),
        preshared_key=None,
        addresses=(ip_address(f"10.8.0.{number}"),),
        routed_networks=tuple(map(ip_network, behind)),
        groups=frozenset(groups),
        endpoint=None,
        persistent_keepalive=0,
        private_key=None,
        created_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
        client=ClientOverrides(**client),
    )


SITE = peer(9, "192.168.9.0/24", "fd09::/64")


def configuration(
    of: Peer, client: dict[str, Any] | None = None, endpoint: str = "vpn.example.org:51820"
) -> ClientConfiguration:
    settings = ServerSettings.model_validate(
        {
            "interface": {"addresses": ["10.8.0.1/24", "fd08::1/64"]},
            "policy": {
                "groups": ["staff", "guests"],
                "networks": {"lan": ["192.168.8.0/24"]},
            },
            "client": client or {},
        }
    )
    peers = [SITE, of]
    return client_configuration(settings, SERVER_KEY, Endpoint.parse(endpoint), of, peers)


def allowed(*arguments: Any, **options: Any) -> list[str]:
    return [str(network) for network in configuration(*arguments, **options).allowed_ips]


def test_everything_by_default() -> None:
    assert allowed(peer(2)) == ["0.0.0.0/0", "::/0"]
    assert allowed(peer(2), endpoint="203.0.113.7:51820") == ["0.0.0.0/0", "::/0"]


def test_split_is_what_is_the_servers() -> None:
    split = {"allowed_ips": "split"}
    networks = ["10.8.0.0/24", "192.168.8.0/23", "fd08::/64", "fd09::/64"]
    assert allowed(peer(2), split) == networks
    assert allowed(SITE, split) == ["10.8.0.0/24", "192.168.8.0/24", "fd08::/64"]


def test_everything_but_these() -> None:
    client = {"excluded_ips": ["128.0.0.0/1", "::/0"]}
    assert allowed(peer(2), client) == ["0.0.0.0/1"]
    but_one = allowed(peer(2), {"excluded_ips": ["192.168.0.0/16"]})
    assert len(but_one) == 17
    assert not any(ip_network("192.168.7.0/24").overlaps(ip_network(each)) for each in but_one)
    with pytest.raises(InputError, match="peer2: excluded_ips leave nothing of allowed_ips"):
        allowed(peer(2), {"allowed_ips": ["10.9.0.0/16"], "excluded_ips": ["10.0.0.0/8"]})


def test_the_servers_own_address_stays_outside_unless_all_goes_through() -> None:
    lan = {"allowed_ips": ["192.168.8.0/30"]}
    assert allowed(peer(2), lan, endpoint="192.168.8.2:51820") == [
        "192.168.8.0/31",
        "192.168.8.3/32",
    ]
    parts = allowed(peer(2), {"excluded_ips": ["10.0.0.0/8"]}, endpoint="203.0.113.7:51820")
    assert not any(ip_address("203.0.113.7") in ip_network(each) for each in parts)
    assert parts[-1] == "::/0"


def test_the_exit_does_not_send_back_what_it_is_sent() -> None:
    way_out = peer(3, "0.0.0.0/0")
    assert allowed(way_out) == [
        *("10.8.0.0/24", "192.168.8.0/23", "fd08::/64", "fd09::/64"),
    ]
    insists = peer(3, "0.0.0.0/0", allowed_ips="full")
    assert allowed(insists) == ["0.0.0.0/0", "::/0"]
    assert allowed(peer(2), {"allowed_ips": "split"}) == allowed(way_out)


def test_peer_before_group_before_server() -> None:
    client = {
        "dns": ["1.1.1.1"],
        "mtu": 1400,
        "persistent_keepalive": 10,
        "groups": {
            "guests": {"allowed_ips": ["0.0.0.0/0"], "dns": ["9.9.9.9"], "mtu": 1300},
            "staff": {"dns": ["10.8.0.1", "corp.example"], "persistent_keepalive": 0},
        },
    }
    common = configuration(peer(2), client)
    assert (common.dns, common.mtu, common.persistent_keepalive) == (
        (ip_address("1.1.1.1"),),
        1400,
        10,
    )
    guest = configuration(peer(2, groups=("guests",)), client)
    assert (guest.dns, guest.mtu) == ((ip_address("9.9.9.9"),), 1300)
    assert "AllowedIPs = 0.0.0.0/0\n" in guest.text()
    both = configuration(peer(2, groups=("guests", "staff")), client)
    assert (both.dns, both.mtu) == ((ip_address("10.8.0.1"), "corp.example"), 1300)
    assert both.persistent_keepalive == 0
    own = configuration(peer(2, groups=("staff",), dns=()), client)
    assert own.dns == ()
    assert "DNS" not in own.text()


def test_texts_of_the_command_line() -> None:
    said = ClientOverrides().changed(
        allowed_ips=["10.0.0.0/8,fd00::/8"], excluded_ips=None, dns=["1.1.1.1", "corp.example"]
    )
    assert said.allowed_ips == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert said.dns == (ip_address("1.1.1.1"), "corp.example")
    assert said.changed(allowed_ips=["split"], dns=["default"]) == ClientOverrides(
        allowed_ips="split"
    )
    for texts in ({"allowed_ips": ["all"]}, {"excluded_ips": ["10.0.0.1/8"]}, {"dns": ["a b"]}):
        with pytest.raises(InputError, match=next(iter(texts))):
            said.changed(**texts)


def test_what_a_peer_gets_is_stored(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path}/wgbind.db") as store:
        made = peer(2, allowed_ips="split", dns=["1.1.1.1", "corp.example"], mtu=1300)
        pools = ServerSettings.model_validate(
            {"interface": {"addresses": ["10.8.0.1/24"]}}
        ).interface.addresses
        stored = store.add_peer(
            "wg7", made.name, pools=pools, public_key=made.public_key, client=made.client
        )
        assert stored.client == store.peers("wg7")[0].client == made.client
        store.update_peer("wg7", made.name, pools=pools, client=ClientOverrides())
        assert store.peers("wg7") == [replace(stored, client=ClientOverrides())]


HEAD = """[interface]
addresses = ["10.8.0.1/24"]
[policy]
groups = ["guests"]
[client]
"""


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            'allowed_ips = "all"',
            6,
            "client.allowed_ips: 'all' is neither full nor split nor",
        ),
        ("allowed_ips = []", 6, "client.allowed_ips: it is empty; give one at least"),
        ('excluded_ips = [\n"10.0.0.0/8",\n"10.0.0.1/8"]', 8, "'10.0.0.1/8' is an address in"),
        ('excluded_ips = "10.0.0.0/8"', 6, "'10.0.0.0/8' is not a list in [ ]"),
        ("[client.groups]\nstaff = {}", 7, "there is no group 'staff'; name it in policy.groups"),
        ('[client.groups.guests]\nmtu = 9\ndns = ["9.9.9.9"]', 7, "9 is too small; use 1280"),
        ("[client.groups.guests]\nendpoint = 'a'", 7, "client.groups.guests.endpoint: there is no"),
    ],
)
def test_mistakes_in_the_settings(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "wg7.toml"
    path.write_text(HEAD + text)
    with pytest.raises(SettingsError) as error:
        toml.load(path)
    assert message in str(error.value)
    assert f"wg7.toml:{line}:" in str(error.value)


def test_what_groups_get_is_written_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "wg7.toml"
    path.write_text(f"{HEAD}[client.groups.guests]\nallowed_ips = 'split'\ndns = ['9.9.9.9']\n")
    settings = toml.load(path)
    assert settings.client.groups["guests"].allowed_ips == "split"
    path.write_text(toml.dump(settings))
    assert toml.load(path) == settings
