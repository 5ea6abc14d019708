"""Ranges of addresses in the settings."""

from ipaddress import ip_address, ip_network

import pytest

from wgbind.errors import InputError
from wgbind.settings.model import ServerSettings
from wgbind.settings.pool import AddressRange


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("10.8.0.9", "10.8.0.9"),
        ("10.8.0.9-10.8.0.9", "10.8.0.9"),
        ("10.8.0.9 - 10.8.0.20", "10.8.0.9-10.8.0.20"),
        ("10.8.0.16/28", "10.8.0.16-10.8.0.31"),
        ("fd00::1:0-fd00::1:ffff", "fd00::1:0-fd00::1:ffff"),
        ("fd00::/120", "fd00::-fd00::ff"),
    ],
)
def test_ranges(text: str, written: str) -> None:
    found = AddressRange.parse(text)
    assert str(found) == written
    assert AddressRange.parse(written) == found


def test_what_is_within() -> None:
    found = AddressRange(ip_address("10.8.0.9"), ip_address("10.8.1.9"))
    assert found.within(ip_network("10.8.0.0/23"))
    assert not found.within(ip_network("10.8.0.0/24"))
    assert not found.within(ip_network("::/0"))


@pytest.mark.parametrize(
    "text", ["", "-", "10.8.0.9-", "10.8.0.9-fd00::", "10.8.0.9-10.8.0.8", "10.8.0.9/24", "a-b"]
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(InputError):
        AddressRange.parse(text)


@pytest.mark.parametrize("key", ["ranges", "reserved"])
def test_what_is_in_no_network_of_the_server(key: str) -> None:
    settings = {
        "interface": {"addresses": ["10.8.0.1/24", "fd00::1/64"]},
        "pool": {key: ["10.8.0.9", "10.8.0.200-10.8.1.9"]},
    }
    with pytest.raises(ValueError, match=r"10.8.0.200-10.8.1.9 is in none of this server's netw"):
        ServerSettings.model_validate(settings)
