"""Client configurations, in wg-quick's words."""

import configparser
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

from wgbind.keys import PresharedKey, PrivateKey
from wgbind.settings.address import Endpoint
from wgbind.settings.wg_quick import ClientConfiguration

SERVER = PrivateKey("eEvnWfmNMUzOBYE6BLNqpg6zGFbDrA9FcyPK9IDHF04=").public_key()
CLIENT = PrivateKey("6KpcbY+3M2PDMnhRySZ5y5Xz5qGXL9kqlMeGyYVgV3k=")
PRESHARED = PresharedKey("FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE=")

FULL = ClientConfiguration(
    private_key=CLIENT,
    addresses=(ip_address("10.8.0.2"), ip_address("fd00::2")),
    dns=(ip_address("1.1.1.1"), "lan.example"),
    mtu=1380,
    public_key=SERVER,
    preshared_key=PRESHARED,
    endpoint=Endpoint("2001:db8::1", 51820),
    allowed_ips=(ip_network("0.0.0.0/0"), ip_network("::/0")),
    persistent_keepalive=25,
)


def test_all_of_it() -> None:
    assert FULL.text() == (
        "[Interface]\n"
        "PrivateKey = 6KpcbY+3M2PDMnhRySZ5y5Xz5qGXL9kqlMeGyYVgV3k=\n"
        "Address = 10.8.0.2/32, fd00::2/128\n"
        "DNS = 1.1.1.1, lan.example\n"
        "MTU = 1380\n"
        "\n"
        "[Peer]\n"
        f"PublicKey = {SERVER}\n"
        "PresharedKey = FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE=\n"
        "AllowedIPs = 0.0.0.0/0, ::/0\n"
        "Endpoint = [2001:db8::1]:51820\n"
        "PersistentKeepalive = 25\n"
    )


def test_what_is_not_there_is_left_out() -> None:
    configuration = replace(
        FULL,
        private_key=None,
        dns=(),
        mtu=None,
        preshared_key=None,
        endpoint=None,
        persistent_keepalive=0,
    )
    assert configuration.text() == (
        "[Interface]\n"
        "# PrivateKey = your private key\n"
        "Address = 10.8.0.2/32, fd00::2/128\n"
        "\n"
        "[Peer]\n"
        f"PublicKey = {SERVER}\n"
        "AllowedIPs = 0.0.0.0/0, ::/0\n"
        "# Endpoint = your server's name or address, and its port\n"
    )


def test_wg_quick_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "wgtest.conf"
    path.touch(0o600)
    path.write_text(FULL.text())
    strip = subprocess.run(
        ["wg-quick", "strip", str(path)], check=True, capture_output=True, text=True
    )
    parser = configparser.ConfigParser()
    parser.read_string(strip.stdout)
    assert dict(parser["Interface"]) == {"privatekey": CLIENT.reveal()}
    assert dict(parser["Peer"]) == {
        "publickey": str(SERVER),
        "presharedkey": PRESHARED.reveal(),
        "allowedips": "0.0.0.0/0, ::/0",
        "endpoint": "[2001:db8::1]:51820",
        "persistentkeepalive": "25",
    }


def test_its_repr_shows_no_secret() -> None:
    assert CLIENT.reveal() not in repr(FULL)
    assert PRESHARED.reveal() not in repr(FULL)
