"""Configurations that are large or odd, in and out again: scenarios 25 to 29, 33, 35 and 36.

One host with one interface and nobody else.
"""

from collections.abc import Iterator

import pytest

from harness import ping, wg
from harness.names import CONTROL_SOCKETS
from net.host import Host
from netns.interface import Interface, introduce, start
from wgbind.keys import PrivateKey


@pytest.fixture
def alone() -> Iterator[Interface]:
    """An interface on a host without neighbours."""
    with Host("alone") as host:
        yield start(host, port=1)


def setconf(interface: Interface, *peers: tuple[str, ...]) -> list[str]:
    """Replace the peers by new ones with these allowed IPs; return their public keys."""
    keys = [str(PrivateKey.generate().public_key()) for _ in peers]
    text = f"[Interface]\nPrivateKey={interface.key.reveal()}\nListenPort=1\n"
    for key, allowed_ips in zip(keys, peers, strict=True):
        text += f"[Peer]\nPublicKey={key}\n"
        text += "".join(f"AllowedIPs={prefix}\n" for prefix in allowed_ips)
    wg(interface.host, "setconf", interface.name, "/dev/stdin", text=text)
    return keys


def allowed_ips(interface: Interface) -> dict[str, list[str]]:
    """Return what `wg show` says of the peers' allowed IPs, by public key."""
    lines = (line.split("\t") for line in interface.show("allowed-ips").splitlines())
    return {key: prefixes.split() for key, prefixes in lines}


def test_a_peer_with_many_allowed_ips(alone: Interface) -> None:
    prefixes = tuple(
        prefix
        for a in range(1, 256)
        for b in range(256)
        for prefix in (f"{a}.{b}.0.0/16", f"{a:x}::{b:x}/128" if b else f"{a:x}::/128")
    )
    assert len(prefixes) == 130_560
    (key,) = setconf(alone, prefixes)
    assert set(allowed_ips(alone)[key]) == set(prefixes)


def test_many_peers_with_some_allowed_ips(alone: Interface) -> None:
    peers = [tuple(f"{a}.{b}.0.0/16" for b in range(1, 53)) for a in range(1, 41)]
    keys = setconf(alone, *peers)
    told = allowed_ips(alone)
    assert {key: set(told[key]) for key in told} == {
        key: set(prefixes) for key, prefixes in zip(keys, peers, strict=True)
    }


def test_peers_without_allowed_ips(alone: Interface) -> None:
    keys = setconf(alone, *[()] * 29, ("255.2.3.4/32", "abcd::255/128"))
    shown = wg(alone.host, "showconf", alone.name)
    assert shown.count("[Peer]") == 30
    told = allowed_ips(alone)
    assert set(told.pop(keys[-1])) == {"255.2.3.4/32", "abcd::255/128"}
    assert told == {key: ["(none)"] for key in keys[:-1]}


def test_a_peer_without_allowed_ips_before_one_with_many(alone: Interface) -> None:
    prefixes = tuple(f"abcd::{number}/128" for number in range(1, 198))
    first, second = (PrivateKey.generate().public_key() for _ in range(2))
    alone.set_peer(first)
    alone.set_peer(second, *prefixes)
    told = allowed_ips(alone)
    assert told[str(first)] == ["(none)"]
    assert set(told[str(second)]) == set(prefixes)


def test_an_interface_that_does_not_exist(alone: Interface) -> None:
    shown = alone.host.run(["wg", "show", "doesnotexist"], check=False)
    assert shown.returncode != 0


def test_allowed_ips_that_overlap(alone: Interface) -> None:
    """Prefixes inside each other, replaced by the one that contains all."""
    peer = PrivateKey.generate().public_key()
    for all_of_it, others in (
        ("0.0.0.0/0", ("10.0.0.0/8", "100.0.0.0/10", "172.16.0.0/12", "192.168.0.0/16")),
        ("::/0", ("1700::/111", "5000::/4", "e000::/37", "9000::/75")),
    ):
        alone.set_peer(peer, all_of_it, *others)
        assert set(allowed_ips(alone)[str(peer)]) == {all_of_it, *others}
        alone.set_peer(peer, all_of_it)
        assert allowed_ips(alone)[str(peer)] == [all_of_it]
    alone.remove_peer(peer)
    assert alone.show("peers") == ""


def test_a_program_ends_with_the_host_that_its_interface_moved_to() -> None:
    """Interfaces that moved into each other's hosts, which go away: nothing is left.

    The kernel's script looks for objects that its module created and never destroyed; what a
    program in user space leaves behind is a process, an interface and a control socket.
    """
    with Host("left") as left, Host("right") as right:
        one, two = start(left, port=1), start(right, port=2)
        with Host("three") as three, Host("four") as four:
            one.move(three)
            two.move(four)
            one.up("192.168.241.1/24")
            two.up("192.168.241.2/24")
            introduce(one, two)
            ping(three, "192.168.241.2", count=1, deadline=1)
        for interface in (one, two):
            assert interface.process.wait(60) == 0
            assert not CONTROL_SOCKETS.joinpath(f"{interface.name}.sock").exists()
