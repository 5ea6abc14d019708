"""The keys of a peer."""

import pytest

from uapi.control import ZERO, Peer, new_keys
from uapi.device import Device

KEYS = [new_keys()[1] for _ in range(3)]
A, B, C = KEYS


def configured(device: Device, key: str = A) -> Peer:
    """Read one peer."""
    return device.get().peers[key]


def test_a_new_peer_has_the_defaults(device: Device) -> None:
    assert device.set(f"public_key={A}") == 0
    assert device.get().peers == {A: Peer(protocol_version=1, handshake=(0, 0))}


def test_every_key_is_read_back(device: Device) -> None:
    lines = (
        f"preshared_key={B}",
        "endpoint=[2001:db8::7]:51820",
        "persistent_keepalive_interval=65535",
        "replace_allowed_ips=true",
        "allowed_ip=10.0.0.0/8",
        "allowed_ip=2001:db8::/64",
        "protocol_version=1",
    )
    assert device.set(f"public_key={A}", *lines) == 0
    peer = configured(device)
    assert peer.preshared_key == B
    assert peer.endpoint == "[2001:db8::7]:51820"
    assert peer.persistent_keepalive == 65535
    assert sorted(peer.allowed_ips) == ["10.0.0.0/8", "2001:db8::/64"]
    assert peer.protocol_version == 1


def test_what_is_left_out_stays(device: Device) -> None:
    lines = (f"preshared_key={B}", "endpoint=192.0.2.7:7", "allowed_ip=10.0.0.0/8")
    assert device.set(f"public_key={A}", *lines, "persistent_keepalive_interval=9") == 0
    before = configured(device)
    assert device.set(f"public_key={A}") == 0
    assert configured(device) == before
    assert device.set(f"public_key={A}", "allowed_ip=10.1.0.0/16") == 0
    after = configured(device)
    assert sorted(after.allowed_ips) == ["10.0.0.0/8", "10.1.0.0/16"]
    after.allowed_ips = before.allowed_ips
    assert after == before


def test_remove(device: Device) -> None:
    assert device.set(f"public_key={A}", f"public_key={B}") == 0
    assert device.set(f"public_key={A}", "remove=true", f"public_key={C}", "remove=true") == 0
    assert set(device.get().peers) == {B}


def test_remove_and_add_again_begins_anew(device: Device) -> None:
    assert device.set(f"public_key={A}", "allowed_ip=10.0.0.0/8", f"preshared_key={B}") == 0
    lines = (f"public_key={A}", "remove=true", f"public_key={A}", "allowed_ip=10.1.0.0/16")
    assert device.set(*lines) == 0
    peer = configured(device)
    assert (peer.allowed_ips, peer.preshared_key) == (["10.1.0.0/16"], ZERO)


def test_update_only_adds_nobody(device: Device) -> None:
    lines = ("update_only=true", "allowed_ip=10.0.0.0/8", "endpoint=192.0.2.7:7")
    assert device.set(f"public_key={A}", *lines, f"public_key={B}") == 0
    assert set(device.get().peers) == {B}
    assert device.set(f"public_key={B}", *lines) == 0
    assert configured(device, B).allowed_ips == ["10.0.0.0/8"]


def test_preshared_key_of_zeros_removes(device: Device) -> None:
    assert device.set(f"public_key={A}", f"preshared_key={B}") == 0
    assert device.set(f"public_key={A}", f"preshared_key={ZERO}") == 0
    assert configured(device).preshared_key == ZERO


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("192.0.2.7:51820", "192.0.2.7:51820"),
        ("[2001:db8::7]:1", "[2001:db8::7]:1"),
        ("[2001:DB8:0::0007]:65535", "[2001:db8::7]:65535"),
    ],
)
def test_endpoint(device: Device, written: str, read: str) -> None:
    assert device.set(f"public_key={A}", f"endpoint={written}") == 0
    assert configured(device).endpoint == read


def test_endpoint_of_an_interface(device: Device) -> None:
    assert device.set(f"public_key={A}", "endpoint=[fe80::7%lo]:7") == 0
    assert configured(device).endpoint == device.differs(
        "zone of an endpoint", "[fe80::7%1]:7", "[fe80::7%lo]:7"
    )


def test_persistent_keepalive(device: Device) -> None:
    for seconds in (25, 1, 0):
        assert device.set(f"public_key={A}", f"persistent_keepalive_interval={seconds}") == 0
        assert configured(device).persistent_keepalive == seconds


def test_replace_allowed_ips(device: Device) -> None:
    assert device.set(f"public_key={A}", "allowed_ip=10.0.0.0/8", "allowed_ip=::/0") == 0
    lines = ("replace_allowed_ips=true", "allowed_ip=10.1.0.0/16")
    assert device.set(f"public_key={A}", *lines) == 0
    assert configured(device).allowed_ips == ["10.1.0.0/16"]
    assert device.set(f"public_key={A}", "replace_allowed_ips=true") == 0
    assert configured(device).allowed_ips == []


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.1.2.3/32", "10.1.2.3/32"),
        ("::/0", "::/0"),
        ("2001:db8:0:1:ffff::/64", "2001:db8:0:1::/64"),
        ("2001:db8::1/128", "2001:db8::1/128"),
    ],
)
def test_allowed_ip_without_its_host_bits(device: Device, written: str, read: str) -> None:
    assert device.set(f"public_key={A}", f"allowed_ip={written}") == 0
    assert configured(device).allowed_ips == [read]
    assert device.set(f"public_key={A}", f"allowed_ip=-{written}") == 0
    assert configured(device).allowed_ips == []


def test_an_allowed_ip_has_one_owner(device: Device) -> None:
    assert device.set(f"public_key={A}", "allowed_ip=10.0.0.0/8", "allowed_ip=10.1.0.0/16") == 0
    assert device.set(f"public_key={B}", "allowed_ip=10.1.2.3/16") == 0
    peers = device.get().peers
    assert peers[A].allowed_ips == ["10.0.0.0/8"]
    assert peers[B].allowed_ips == ["10.1.0.0/16"]


def test_an_allowed_ip_is_taken_from_its_owner_alone(device: Device) -> None:
    lines = ("allowed_ip=10.0.0.0/8", "allowed_ip=10.1.0.0/16")
    assert device.set(f"public_key={A}", *lines, f"public_key={B}", "allowed_ip=::/0") == 0
    assert device.set(f"public_key={B}", "allowed_ip=-10.0.0.0/8", "allowed_ip=-11.0.0.0/8") == 0
    assert sorted(configured(device).allowed_ips) == ["10.0.0.0/8", "10.1.0.0/16"]
    # Nor is a shorter or a longer one touched.
    assert device.set(f"public_key={A}", "allowed_ip=-10.0.0.0/9", "allowed_ip=-10.1.0.0/16") == 0
    assert configured(device).allowed_ips == ["10.0.0.0/8"]


def test_no_value_leaks_into_the_next_peer(device: Device) -> None:
    lines = (
        "update_only=true",
        f"preshared_key={C}",
        "endpoint=192.0.2.7:7",
        "persistent_keepalive_interval=9",
        "replace_allowed_ips=true",
        "allowed_ip=10.0.0.0/8",
    )
    assert device.set(f"public_key={A}", f"public_key={B}", "allowed_ip=::/0") == 0
    assert device.set(f"public_key={A}", *lines, f"public_key={C}", f"public_key={B}") == 0
    peers = device.get().peers
    assert peers[C] == Peer(protocol_version=1, handshake=(0, 0))
    assert peers[B] == Peer(allowed_ips=["::/0"], protocol_version=1, handshake=(0, 0))
    assert device.set(f"public_key={A}", "remove=true", f"public_key={B}") == 0
    assert set(device.get().peers) == {B, C}


def test_own_public_key_is_no_peer(device: Device) -> None:
    private, public = new_keys()
    assert device.set(f"private_key={private}") == 0
    lines = (f"public_key={public}", "allowed_ip=10.0.0.0/8", f"public_key={A}")
    assert device.set(*lines) == 0
    assert set(device.get().peers) == {A}
    other, own = new_keys()
    assert device.set(f"public_key={own}", "allowed_ip=10.0.0.0/8") == 0
    assert device.set(f"private_key={other}") == 0
    assert set(device.get().peers) == {A}
