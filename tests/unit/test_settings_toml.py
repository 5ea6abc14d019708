"""The settings file: what is written is read again, and mistakes are told."""

import re
from ipaddress import IPv4Interface, IPv6Interface, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wgbind.errors import InputError, NotFoundError, SettingsError
from wgbind.settings import toml
from wgbind.settings.address import Endpoint, InterfaceAddress, parse_interface_address
from wgbind.settings.device import DeviceSettings
from wgbind.settings.model import ServerSettings
from wgbind.settings.number import MTU_MAX

SMALLEST = '[interface]\naddresses = ["10.8.0.1/24"]\n'


def interface_addresses() -> st.SearchStrategy[list[InterfaceAddress]]:
    """Addresses that one server can have, with networks apart from each other."""

    def valid(address: InterfaceAddress) -> bool:
        try:
            return parse_interface_address(str(address)) == address
        except InputError:
            return False

    def apart(addresses: list[InterfaceAddress]) -> bool:
        networks = [address.network for address in addresses]
        return not any(
            one.overlaps(other) for i, one in enumerate(networks) for other in networks[:i]
        )

    ipv4 = st.tuples(st.ip_addresses(v=4), st.integers(8, 32)).map(IPv4Interface)
    ipv6 = st.tuples(st.ip_addresses(v=6), st.integers(16, 128)).map(IPv6Interface)
    return st.lists((ipv4 | ipv6).filter(valid), min_size=1, max_size=4).filter(apart)


FEATURES = [name for name in DeviceSettings.model_fields if name != "workers"]
NAMES = st.from_regex(r"[a-zA-Z0-9_=+-]{1,15}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40)
NAMED = ["203.0.113.0/24", "2001:db8:7::/48", "198.51.100.0/24"]
NETWORKS = st.sampled_from(["0.0.0.0/0", "::/0", "10.0.0.0/8", "192.0.2.7/32", "fd00::/8"])


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    """Policies whose names, networks and forwards do not collide."""
    groups = draw(st.lists(st.sampled_from(["staff", "guests"]), unique=True))
    named = {
        "lan": NAMED[:2],
        "dc": {"prefixes": NAMED[2:], "nat": draw(st.booleans()), "interface": "eth1"},
    }
    networks = {name: named[name] for name in draw(st.lists(st.sampled_from(["lan", "dc"])))}
    ends = st.lists(
        st.sampled_from(["any", "peers", "peer:a@b.c", "192.0.2.1", "fd00::/8", *groups, *networks])
    )
    services = ["any", "tcp", "ssh", "tcp/1-65535", "udp/7", "icmp", "ping"]
    rules = st.builds(
        lambda action, ends, services, log, name: {
            "action": action,
            "from": ["peers", *ends],
            "to": ["any", *ends],
            "services": services,
            "log": log,
            **name,
        },
        st.sampled_from(["allow", "deny"]),
        ends,
        st.lists(st.sampled_from(services), min_size=1),
        st.booleans(),
        st.sampled_from([{}, {"name": 'the "x" \\ rule'}]),
    )
    return {
        "preset": draw(st.sampled_from([[], ["isolated"], ["gateway", "hub"], ["site"]])),
        "groups": groups,
        "networks": networks,
        "services": draw(st.sampled_from([{}, {"web": ["tcp/80", "https"]}])),
        "rules": draw(st.lists(rules, max_size=3)),
        "forwards": draw(
            st.sampled_from([[], ["tcp/80 -> peer:web : 8080", "tcp/90-99 -> 10.8.0.3 masquerade"]])
        ),
        "connection_limit": draw(st.none() | st.integers(1, 10**6)),
    }


@st.composite
def settings(draw: st.DrawFn) -> ServerSettings:
    addresses = draw(interface_addresses())
    named = map(ip_network, NAMED)
    assume(not any(n.overlaps(a.network) for n in named for a in addresses))
    flag, none = st.booleans(), st.none()
    lowest = 1280 if any(address.version == 6 for address in addresses) else 576
    return ServerSettings.model_validate(
        {
            "interface": {
                "addresses": addresses,
                "listen_port": draw(st.integers(0, 65535)),
                "mtu": draw(st.integers(lowest, MTU_MAX)),
                "private_key_file": draw(none | TEXT),
                "fwmark": draw(st.integers(0, 2**32 - 1)),
            },
            "policy": draw(policies()),
            "routing": {
                "egress": draw(
                    st.sampled_from(["auto", "any"]) | st.lists(NAMES, min_size=1, max_size=3)
                ),
            },
            "client": {
                "endpoint": draw(none | st.sampled_from(["a.example", "[::1]:9", "192.0.2.1:53"])),
                "allowed_ips": draw(st.lists(NETWORKS, min_size=1, max_size=5)),
                "dns": draw(st.lists(st.sampled_from(["1.1.1.1", "fd00::53", "lan", "x.example"]))),
                "persistent_keepalive": draw(st.integers(0, 65535)),
                "mtu": draw(none | st.integers(1280, MTU_MAX)),
                "store_private_keys": draw(flag),
            },
            "store": {"url": draw(none | TEXT), "key_file": draw(none | TEXT)},
            "device": {
                "workers": draw(st.just("auto") | st.integers(1, 16)),
                **{name: draw(flag) for name in FEATURES},
            },
        }
    )


@given(settings())
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, wanted: ServerSettings
) -> None:
    path = tmp_path_factory.getbasetemp() / "wg0.toml"
    path.write_text(toml.dump(wanted), "utf-8")
    assert toml.load(path) == wanted


def test_each_key_stands_in_a_new_file_with_a_comment() -> None:
    interface = {"addresses": ["10.0.0.1/8"]}
    fresh = toml.dump(ServerSettings.model_validate({"interface": interface}))
    assert "[wg_quick]" not in fresh  # which is for imports
    kept = {"interface": interface, "wg_quick": {"table": "off", "save_config": True}}
    text = toml.dump(ServerSettings.model_validate(kept))
    for section, field in ServerSettings.model_fields.items():
        assert f"[{section}]\n" in text
        for key in field.annotation.model_fields:  # type: ignore[union-attr]
            pattern = rf"^# .+\n(# )?{key} = |^\[{section}\.{key}\]\n# "
            assert re.search(pattern, text, re.MULTILINE), key
    assert max(map(len, text.splitlines())) <= 100


def test_the_smallest_file_and_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "wg0.toml"
    path.write_text(SMALLEST)
    found = toml.load(path)
    assert found.interface.addresses == (IPv4Interface("10.8.0.1/24"),)
    assert (found.interface.listen_port, found.interface.mtu, found.interface.fwmark) == (
        51820,
        1420,
        0,
    )
    assert found.policy.preset == ("gateway",)
    assert found.policy.rules == ()
    assert found.routing.egress == "auto"
    assert found.client.endpoint is None
    assert found.client.allowed_ips == "full"
    assert found.client.persistent_keepalive == 25
    assert not found.client.store_private_keys
    assert found.store.url is None


def test_parsed_values(tmp_path: Path) -> None:
    path = tmp_path / "wg0.toml"
    path.write_text(SMALLEST + '[client]\nendpoint = "[2001:db8::1]:443"\n')
    assert toml.load(path).client.endpoint == Endpoint("2001:db8::1", 443)


MISTAKES = [
    # what the file holds; the line; the message
    (SMALLEST + "mtu = 99", 3, "key interface.mtu: 99 is too small for IPv4; use 576 to 65456"),
    (
        '[interface]\naddresses = [\n  "10.8.0.1/24",\n  "fd00::1/64",\n]\nmtu = 1279',
        6,
        "key interface.mtu: 1279 is too small for IPv6; use 1280 to 65456",
    ),
    (SMALLEST + "mtu = 65457", 3, "key interface.mtu: 65457 is too large; use 65456 or less"),
    (SMALLEST + "listen_port = -1", 3, "key interface.listen_port: -1 is too small; use 0 or more"),
    (
        SMALLEST + 'listen_port = "51820"',
        3,
        "key interface.listen_port: '51820' is not a whole number",
    ),
    (SMALLEST + "mtu = 1420.0", 3, "key interface.mtu: 1420.0 is not a whole number"),
    (SMALLEST + "fwmark = true", 3, "key interface.fwmark: True is not a whole number"),
    (
        SMALLEST + "ListenPort = 1",
        3,
        "key interface.ListenPort: there is no such key; did you mean listen_port?",
    ),
    (
        SMALLEST + "\n\nendpoint = 'a'",
        5,
        "key interface.endpoint: there is no such key; it stands in the section [client]",
    ),
    (SMALLEST + "[polcy]", 3, "key polcy: there is no such key; did you mean policy?"),
    (
        SMALLEST + "[gateway]\nenabled = true",
        3,
        "key gateway: there is no such key; "
        "say it by policy.preset, policy.rules and routing.egress",
    ),
    (
        SMALLEST + "[zzz]",
        3,
        "key zzz: there is no such key; "
        "there are interface, pool, policy, routing, client, store, device, api, wg_quick",
    ),
    (
        '"a\\nb" = 1\n' + SMALLEST,
        1,
        "key 'a\\nb': there is no such key; "
        "there are interface, pool, policy, routing, client, store, device, api, wg_quick",
    ),
    ("", 1, "key interface: it is missing; `wgbind server init` makes a file that shows it"),
    (
        "# empty\n[interface]\n",
        2,
        "key interface.addresses: it is missing; `wgbind server init` makes a file that shows it",
    ),
    ("[interface]\naddresses = []", 2, "key interface.addresses: it is empty; give one at least"),
    (
        '[interface]\naddresses = "10.8.0.1/24"',
        2,
        "key interface.addresses: '10.8.0.1/24' is not a list in [ ]",
    ),
    (
        '[interface]\naddresses = [\n"10.8.0.1/24",\n"10.8.0.1"]',
        4,
        "key interface.addresses: '10.8.0.1' is not an address with a prefix length, "
        "such as 10.8.0.1/24",
    ),
    ("[interface]\naddresses = [1]", 2, "key interface.addresses: 1 is not text in quotes"),
    (
        '[interface]\naddresses = ["10.8.0.1/16", "10.8.9.1/24"]',
        2,
        "key interface.addresses: 10.8.9.1/24 overlaps 10.8.0.1/16; "
        "use networks apart from each other",
    ),
    (
        'interface.addresses = ["10.8.0.1/24"]\ninterface.mtu = 1',
        2,
        "key interface.mtu: 1 is too small for IPv4; use 576 to 65456",
    ),
    (
        'interface = {addresses = ["10.8.0.1/24"], mtu = 1}',
        1,
        "key interface.mtu: 1 is too small for IPv4; use 576 to 65456",
    ),
    (
        '[[interface]]\naddresses = ["10.8.0.1/24"]',
        1,
        "key interface: it is not a section; write [interface] once, and its keys below",
    ),
    (
        SMALLEST + "[client]\nstore_private_keys = 1",
        4,
        "key client.store_private_keys: 1 is not true or false",
    ),
    (
        SMALLEST + "[routing]\negress = 'eth0'",
        4,
        'key routing.egress: \'eth0\' is neither "auto" nor "any" nor a list of interfaces',
    ),
    (
        SMALLEST + "[routing]\negress = ['eth0; drop']",
        4,
        "key routing.egress: interface name 'eth0; drop': "
        "use 1 to 15 of the characters a-z A-Z 0-9 _ = + . -",
    ),
    (
        SMALLEST + "[client]\ndns = ['1.1.1']",
        4,
        "key client.dns: '1.1.1' is not an IP address, such as 10.8.0.2",
    ),
    (
        SMALLEST + "[client]\nendpoint = 'a:b'",
        4,
        "key client.endpoint: 'a:b' is not an IP address, such as 10.8.0.2",
    ),
    (
        SMALLEST + "[client]\nallowed_ips = ['10.0.0.1/8']",
        4,
        "key client.allowed_ips: '10.0.0.1/8' is an address in a network; "
        "the network is 10.0.0.0/8",
    ),
    (SMALLEST + "[client]\nmtu = 1000", 4, "key client.mtu: 1000 is too small; use 1280 or more"),
    *(
        (
            SMALLEST + f"[device]\nworkers = {value}",
            4,
            f'key device.workers: {shown} is neither "auto" nor a whole number from 1 to 16',
        )
        for value, shown in [("0", "0"), ("17", "17"), ("'many'", "'many'"), ("true", "True")]
    ),
    (SMALLEST + "[device]\ntun_uso = 0", 4, "key device.tun_uso: 0 is not true or false"),
    (
        SMALLEST + "[device]\ntun_ufo = false",
        4,
        "key device.tun_ufo: there is no such key; did you mean tun_uso?",
    ),
    (
        SMALLEST + "mtu = 1\nmtu = 2",
        4,
        "it is not TOML: Cannot overwrite a value; correct the line",
    ),
    (SMALLEST + "mtu =", 3, "it is not TOML: Invalid value; correct the line"),
    (SMALLEST + "mtu = [", 3, "it is not TOML: Invalid value; correct the line"),
]


@pytest.mark.parametrize(("text", "line", "message"), MISTAKES)
def test_a_mistake_is_told(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "wg0.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        toml.load(path)
    assert str(error.value) == f"{path}:{line}: {message}"


def test_the_first_of_many_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "wg0.toml"
    path.write_text("[client]\nmtu = 1\n[interface]\naddresses = []\n[policy]\nrules = 1\n")
    with pytest.raises(SettingsError, match=r":2: key client\.mtu: 1 is too small"):
        toml.load(path)


SECRET = "YEocP0e2o1WT5GlvBvQzVF7EeR6z9aCk+ZdZ5NKtEXA="  # noqa: S105  a key of nobody


@pytest.mark.parametrize(
    "text",
    [
        f"{SMALLEST}private_key = '{SECRET}'",
        f"{SMALLEST}private_key_file = '{SECRET}'",
        f"{SMALLEST}PrivateKey = {SECRET}",
        f"{SMALLEST}{SECRET}",
        f"{SMALLEST}mtu = {SECRET}",
        f"{SMALLEST}[store]\nurl = ['{SECRET}']",
        f"{SMALLEST}[store]\nurl = '{SECRET}'\nmtu = 3",
    ],
)
def test_no_error_shows_a_secret(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wg0.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        toml.load(path)
    assert SECRET[:8] not in str(error.value)
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_no_repr_shows_the_password_of_the_database() -> None:
    url = "postgresql://wgbind:hunter2@db.example/wgbind"
    values = {"interface": {"addresses": ["10.8.0.1/24"]}, "store": {"url": url}}
    found = ServerSettings.model_validate(values)
    assert "hunter2" not in f"{found!r} {found} {found.model_dump_json()}"
    assert url in toml.dump(found)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "wg0.toml"
    with pytest.raises(NotFoundError, match="`wgbind server init wg0` makes them"):
        toml.load(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="it is not UTF-8 text"):
        toml.load(path)
    with pytest.raises(SettingsError, match="make it a plain file"):
        toml.load(tmp_path)
