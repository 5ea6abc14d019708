"""Servers go into files of wg-quick and come out of them as they were."""

import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.wg_quick_files import EVERYTHING, FILES
from wgbind.keys import PresharedKey, PrivateKey
from wgbind.settings.client import ClientOverrides, ClientSettings
from wgbind.settings.model import ServerSettings
from wgbind.store.peer import Peer, normal
from wgbind.wg_quick.export import export_text
from wgbind.wg_quick.file import WgQuickFile
from wgbind.wg_quick.importing import Import, import_file

NOW = datetime(2026, 5, 17, 12, tzinfo=timezone.utc)
PRIVATE_KEY = PrivateKey.generate()
KEYS = [PrivateKey.generate().public_key() for _ in range(4)]
PRESHARED = PresharedKey.generate()

_BLANKS = " \t"
_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "))
_LINES = st.lists(
    _TEXT
    | st.sampled_from(
        ["", "#", "# x", "##", "Name = alice", "# Name = bob", "### Client x", "BEGIN_PEER y"]
    )
    | st.sampled_from(["#! [Peer]", "#: groups = []", "[Peer]", "### end x ###", " y", "phone"]),
    max_size=4,
)
_COMMANDS = st.lists(st.sampled_from(["echo %i", "a; b && c", "[ -e x ]", "x = y"])).map(tuple)


@st.composite
def server_settings(draw: st.DrawFn) -> ServerSettings:
    return ServerSettings.model_validate(
        {
            "interface": {
                "addresses": draw(
                    st.sampled_from([["10.8.0.1/24"], ["10.8.0.1/24", "fd00::1/64"]])
                ),
                "listen_port": draw(st.integers(0, 65535)),
                "mtu": draw(st.integers(1280, 9000)),
                "fwmark": draw(st.integers(0, 2**32 - 1)),
            },
            "policy": {
                "preset": draw(st.sampled_from([["gateway"], ["hub"], ["site", "hub"], []])),
                "groups": ["staff", "guests"],
                "networks": draw(
                    st.sampled_from([{}, {"lan": {"prefixes": ["192.168.7.0/24"], "nat": False}}])
                ),
                "rules": draw(st.sampled_from([[], ["deny guests -> internet : smtp log"]])),
            },
            "routing": {"table": draw(st.sampled_from(["main", 1234]))},
            "client": draw(
                st.sampled_from([{}, {"dns": ["9.9.9.9"], "groups": {"staff": {"mtu": 1400}}}])
            ),
            "wg_quick": {
                "run_hooks": draw(st.booleans()),
                "pre_up": draw(_COMMANDS),
                "post_down": draw(_COMMANDS),
                "dns": draw(st.sampled_from([(), ("1.1.1.1", "corp.example")])),
                "table": draw(st.sampled_from([None, "off", "auto", "wan"])),
                "save_config": draw(st.sampled_from([None, True, False])),
            },
        }
    )


@st.composite
def peer_lists(draw: st.DrawFn, settings: ServerSettings) -> list[Peer]:
    ipv6 = len(settings.interface.addresses) > 1
    peers = []
    for number in range(draw(st.integers(0, 3))):
        addresses = [ip_address(f"10.8.0.{number + 2}")] if draw(st.booleans()) else []
        if ipv6 and draw(st.booleans()):
            addresses.append(ip_address(f"fd00::{number + 2}"))
        peers.append(
            normal(
                Peer(
                    server="wg0",
                    name=draw(st.sampled_from(["x", "alice", "a.b+c@d"])) + str(number),
                    public_key=KEYS[number],
                    preshared_key=draw(st.sampled_from([None, PRESHARED])),
                    addresses=tuple(addresses),
                    routed_networks=(
                        (ip_network(f"192.168.{number}.0/24"),) if draw(st.booleans()) else ()
                    ),
                    groups=draw(st.frozensets(st.sampled_from(["staff", "guests"]))),
                    endpoint=draw(
                        st.sampled_from([None, ("host.example", 7), ("2001:db8::1", 65535)])
                    ),
                    persistent_keepalive=draw(st.integers(0, 65535)),
                    private_key=None,
                    created_at=NOW,
                    client=draw(
                        st.sampled_from(
                            [ClientOverrides(), ClientOverrides(dns=("1.1.1.1",), mtu=1300)]
                        )
                    ),
                    description=draw(_TEXT.map(lambda text: text[:200])),
                    enabled=draw(st.booleans()),
                    expires_at=draw(
                        st.sampled_from([None, NOW - timedelta(days=1), NOW + timedelta(days=1)])
                    ),
                    notes="\n".join(draw(_LINES)),
                )
            )
        )
    return peers


@given(st.data())
def test_a_server_comes_back_as_it_was(data: st.DataObject) -> None:
    settings = data.draw(server_settings())
    peers = data.draw(peer_lists(settings))
    text = export_text(settings, PRIVATE_KEY, peers, NOW)
    found = import_file(WgQuickFile.parse(text), "wg0", ClientSettings(mtu=1333), NOW)
    expected = settings
    if settings.wg_quick.run_hooks:  # the one who imports it has to ask for that
        kept = settings.wg_quick.model_copy(update={"run_hooks": False})
        expected = settings.model_copy(update={"wg_quick": kept})
    if settings.routing.table != "main":  # one key for both
        kept = expected.wg_quick.model_copy(update={"table": None})
        expected = expected.model_copy(update={"wg_quick": kept})
    assert without_layout(found.settings) == expected
    assert found.private_key == PRIVATE_KEY
    assert [replace(peer, layout=(), created_at=NOW) for peer in found.peers] == peers
    # And stands there once more as it stood there.
    assert export_text(found.settings, PRIVATE_KEY, found.peers, NOW) == text
    # Whoever is not served, wg-quick does not serve either.
    served = {line.split(" = ")[1] for line in text.splitlines() if line.startswith("PublicKey")}
    assert served == {str(peer.public_key) for peer in peers if peer.served(NOW)}


def without_layout(settings: ServerSettings) -> ServerSettings:
    kept = settings.wg_quick.model_copy(update={"layout": ()})
    return settings.model_copy(update={"wg_quick": kept})


def plain(text: str) -> str:
    """Leave out what wgbind says in comments of its own."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not re.match(r"(#! ?|#\[disabled\] ?)?#: ", line))


def again(text: str) -> tuple[Import, str]:
    """Import a file, and export that."""
    found = import_file(WgQuickFile.parse(text, "f"), "wg0", ClientSettings(), NOW)
    return found, export_text(found.settings, found.private_key, found.peers, NOW)


@pytest.mark.parametrize("text", [*FILES.values(), EVERYTHING], ids=[*FILES, "everything"])
def test_a_file_comes_back_as_it_was(text: str) -> None:
    found, written = again(text)
    assert plain(written) == text
    second, twice = again(written)
    assert (second.settings, second.peers) == (found.settings, found.peers)
    assert twice == written
    assert [peer.name for peer in found.peers][:2] in (["alice", "bob"], ["laptop", "wg-TrMvSoP4"])


def test_who_was_renamed_is_found_by_the_new_name() -> None:
    found = import_file(WgQuickFile.parse(FILES["nyr"], "f"), "wg0", ClientSettings(), NOW)
    alice, bob = found.peers
    peers = [replace(alice, name="carol"), bob]
    text = export_text(found.settings, found.private_key, peers, NOW)
    second = import_file(WgQuickFile.parse(text, "f"), "wg0", ClientSettings(), NOW)
    assert [replace(peer, layout=()) for peer in second.peers] == [
        replace(peer, layout=()) for peer in peers
    ]
    assert second.settings.interface.addresses == (
        ip_interface("10.66.66.1/24"),
        ip_interface("fd42:42:42::1/64"),
    )
