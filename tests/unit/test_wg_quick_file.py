"""Files of wg-quick as they are read: keys, comments, names, and what is wrong in them."""

from ipaddress import ip_interface, ip_network

import pytest

from unit.wg_quick_files import (
    EVERYTHING,
    FILES,
    INTERFACE,
    KEYS,
    PRESHARED_KEY,
    PRIVATE_KEY,
)
from wgbind.errors import InputError
from wgbind.keys import PresharedKey, PrivateKey, PublicKey
from wgbind.wg_quick.comment import read_comments
from wgbind.wg_quick.file import WgQuickFile
from wgbind.wg_quick.friendly_name import free_name, peer_name


def test_every_key_is_read() -> None:
    file = WgQuickFile.parse(EVERYTHING)
    interface = file.interface
    assert interface.private_key == PrivateKey(PRIVATE_KEY)
    assert [str(address) for _, address in interface.addresses] == [
        "10.7.0.1/24",
        "fd07::1/64",
        "192.168.77.1/24",
    ]
    assert (interface.listen_port, interface.fwmark, interface.mtu) == (51821, 0xCA6C, 1380)
    assert interface.dns == ("9.9.9.9", "2620:fe::fe", "corp.example")
    assert (interface.table, interface.save_config) == ("1234", True)
    hooks = {key: tuple(hook for _, hook in said) for key, said in interface.hooks.items()}
    assert hooks == {
        "PreUp": ("echo pre-up %i",),
        "PostUp": ("echo post-up %i; true", "echo again"),
        "PreDown": ("echo pre-down",),
        "PostDown": ("echo post-down",),
    }
    assert interface.comments == ("# of the whole file", "# of the interface", "# its key")
    laptop, second, third = file.peers
    assert laptop.public_key == PublicKey(KEYS[0])
    assert laptop.preshared_key == PresharedKey(PRESHARED_KEY)
    assert list(map(str, laptop.allowed_ips)) == ["10.7.0.2/32", "fd07::2/128", "192.168.5.0/24"]
    assert laptop.endpoint == ("vpn.example.org", 51820)
    assert laptop.persistent_keepalive == 25
    assert laptop.comments == (
        "# BEGIN_PEER laptop",
        "# two lines",
        "# about it",
        "# END_PEER laptop",
    )
    assert second.allowed_ips == (ip_network("10.7.0.3/32"),)
    assert (second.persistent_keepalive, second.comments) == (0, ())
    assert (third.allowed_ips, third.endpoint) == ((), ("2001:db8::7", 7))


@pytest.mark.parametrize("tool", FILES)
def test_names_that_tools_write_are_found(tool: str) -> None:
    peers = WgQuickFile.parse(FILES[tool]).peers
    assert [read_comments(peer.comments).name for peer in peers] == ["alice", "bob"]
    assert [str(peer.public_key) for peer in peers] == list(KEYS[:2])
    assert [peer.enabled for peer in peers] == [True, tool != "pivpn"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Alice's phone", "Alice-s-phone"),
        ("  Zoë ", "Zoe"),
        ("-x-", "x"),
        ("?", None),
        ("手机", None),
        ("a" * 99, "a" * 63),
    ],
)
def test_names_take_the_form_that_peers_have(text: str, name: str | None) -> None:
    assert peer_name(text) == name


def test_nobody_is_called_as_another() -> None:
    key = PublicKey(KEYS[1])
    assert free_name("phone", key, ()) == "phone"
    assert free_name("phone", key, {"phone", "phone-2"}) == "phone-3"
    assert free_name("a" * 63, key, {"a" * 63}) == "a" * 61 + "-2"
    assert free_name(None, key, ()) == "wg-TrMvSoP4"
    assert free_name(None, key, {"wg-TrMvSoP4"}) == "wg-TrMvSoP4j"


def test_what_wg_takes_is_taken() -> None:
    file = WgQuickFile.parse(
        f"\ufeff[interface]\r\nprivatekey={PRIVATE_KEY}\r\nADDRESS=10.0.0.1/8\r\nfwmark=off\r\n"
        f"[PEER]\r\npublickey = {KEYS[0]}\r\npresharedkey = {'A' * 43}=\r\n"
        "allowedips = 10.9.9.9/24\r\n"
    )
    assert file.interface.addresses == ((3, ip_interface("10.0.0.1/8")),)
    assert file.interface.fwmark == 0
    # A key of zeros is none, and bits behind the prefix do not count.
    assert file.peers[0].preshared_key is None
    assert file.peers[0].allowed_ips == (ip_network("10.9.9.0/24"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f: there is no section in it"),
        ("PrivateKey = x\n", "f:1: key PrivateKey stands in no section"),
        ("[Interfaces]\n", "f:1: section '[Interfaces]' is not one of wg-quick's"),
        ("[Interface]\nnonsense\n", "f:2: this is no line of the form KEY = VALUE"),
        (
            "[Interface]\nAddres = 1\n",
            "f:2: key Addres: there is no such key; did you mean Address",
        ),
        ("[Interface]\nEndpoint = a:1\n", "f:2: key Endpoint: it belongs into a section [Peer]"),
        ("[Interface]\nAddress = 10.0.0.0.1/8\n", "f:2: key Address: '10.0.0.0.1/8' is not"),
        ("[Interface]\nMTU = big\n", "f:2: key MTU: 'big' is not a number"),
        ("[Interface]\nListenPort = 65536\n", "f:2: key ListenPort: '65536' is not"),
        ("[Interface]\nFwMark = 0xg\n", "f:2: key FwMark: '0xg' is not a number"),
        ("[Interface]\nTable = a b\n", "f:2: key Table: 'a b' is neither"),
        ("[Interface]\nSaveConfig = yes\n", "f:2: key SaveConfig: 'yes' is neither"),
        ("[Peer]\nAllowedIPs = 10.0.0.0/8\n", "f:1: key PublicKey: it is missing"),
        (f"[Peer]\nPublicKey = {KEYS[0]}\nAllowedIPs = 10.0.0.0/33\n", "f:3: key AllowedIPs: '10"),
        (f"[Peer]\nPublicKey = {KEYS[0]}\nEndpoint = host\n", "f:3: key Endpoint: endpoint 'host'"),
        (f"[Peer]\nPublicKey = {KEYS[0]}\nPersistentKeepalive = x\n", "f:3: key PersistentKeep"),
        (f"[Peer]\nPublicKey = {KEYS[0]}\nAllowedIPs =\n", "f:3: key AllowedIPs: it has no value"),
        (f"[Peer]\nPublicKey = {KEYS[0]}\nAllowedIPs = +fd00::/8\n", "f:3: key AllowedIPs: '+fd"),
        ("[Interface]\nAdd ress = 10.0.0.1/8\n", "f:2: key Add ress: there is no such key"),
    ],
)
def test_what_is_wrong_is_said_with_line_key_and_remedy(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        WgQuickFile.parse(text, "f")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_what_wg_quick_takes_is_taken() -> None:
    """Lists by blanks, keys without a value, the last of several."""
    interface = WgQuickFile.parse(
        "[Interface]\nAddress = 10.0.0.1/8 fd00::1/64,\nAddress =\nDNS = 9.9.9.9 corp.example\n"
        "MTU = 1400\nMTU = 1380\nTable = 7\nTable =\nPostUp =\nPostUp = a b, c\n"
    ).interface
    assert [str(address) for _, address in interface.addresses] == ["10.0.0.1/8", "fd00::1/64"]
    assert (interface.mtu, interface.table) == (1380, None)
    assert interface.dns == ("9.9.9.9", "corp.example")
    assert interface.hooks["PostUp"] == ((10, "a b, c"),)


def test_what_stands_there_twice_is_said() -> None:
    """Several sections of a peer are one; a prefix is of the last who claims it."""
    file = WgQuickFile.parse(
        f"[Peer]\n# Name = one\nPublicKey = {KEYS[0]}\nAllowedIPs = 10.0.0.0/8, 10.0.0.2/32\n"
        f"[Peer]\nPublicKey = {KEYS[1]}\nAllowedIPs = 10.0.0.2/32\n"
        f"[Peer]\nPublicKey = {KEYS[0]}\nEndpoint = a:1\nEndpoint = b:2\n"
        "AllowedIPs = 10.0.0.0/8, 10.0.0.2/32\n"
        f"#! [Peer]\n#! PublicKey = {KEYS[1]}\n#! AllowedIPs = 10.0.0.0/8\n",
        "f",
    )
    one, two = file.peers
    assert list(map(str, one.allowed_ips)) == ["10.0.0.0/8", "10.0.0.2/32"]
    assert (one.line, one.endpoint, one.comments) == (1, ("b", 2), ("# Name = one",))
    assert (two.allowed_ips, two.enabled) == ((), True)
    assert [remark[:40] for remark in file.remarks] == [
        "f:11: Endpoint: it stands in line 10, to",
        f"f:1: [Peer]: {KEYS[0]}"[:40],
        "f:5: AllowedIPs: 10.0.0.2/32 goes to the",
        f"f:13: [Peer]: {KEYS[1]}"[:40],
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"[Interface]\nPrivateKey = {PRIVATE_KEY[1:]}\n",
        f"[Interface]\n{PRIVATE_KEY[:-1]}\n",
        f"[Interface]\n{PRIVATE_KEY}\n",
        f"{INTERFACE}[Peer]\nPublicKey = {KEYS[0]}\nPresharedKey = {PRIVATE_KEY[1:]}\n",
        f"{INTERFACE}[Peer]\nPublicKey = {PRIVATE_KEY[1:]}\n",
    ],
)
def test_no_message_shows_a_secret(text: str) -> None:
    with pytest.raises(InputError) as caught:
        WgQuickFile.parse(text, "f")
    assert PRIVATE_KEY[2:20] not in str(caught.value)
    assert PRIVATE_KEY not in repr(WgQuickFile.parse(INTERFACE))
