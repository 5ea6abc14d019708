"""What changes of a peer leave alone: its session, its counters, what it must not replay."""

import socket
import time
from collections.abc import Iterator

import pytest

from harness import ping
from uapi.control import new_keys
from uapi.device import Device
from uapi.pair import FAR, INITIATION, NEAR, RESPONSE, Pair, paired

STRANGER = new_keys()[1]

PATIENCE = 60.0
"""Seconds for a datagram that must come."""


@pytest.fixture(scope="module")
def pair(implementation: str) -> Iterator[Pair]:
    with paired(implementation) as pair:
        pair.connect()
        yield pair


def test_time_of_the_handshake_is_that_of_the_clock(pair: Pair) -> None:
    handshake = pair.peer().handshake
    assert handshake is not None
    seconds, nanoseconds = handshake
    assert 0 <= time.time() - seconds < 120
    assert 0 < nanoseconds < 1_000_000_000


def test_counters_are_of_what_is_on_the_wire(pair: Pair) -> None:
    before = pair.peer()
    received = ping(pair.near.host, FAR, count=10).received
    assert received > 0
    # 84 bytes padded to 96, behind a header of 16 and before a tag of 16 (the paper, 5.4.6).
    pair.wait_for(lambda after: after.tx_bytes - before.tx_bytes >= received * 128)
    pair.wait_for(lambda after: after.rx_bytes - before.rx_bytes >= received * 128)


@pytest.mark.parametrize(
    "lines",
    [
        ("allowed_ip=10.67.0.0/16",),
        ("replace_allowed_ips=true", f"allowed_ip={FAR}/32"),
        ("persistent_keepalive_interval=25",),
        ("persistent_keepalive_interval=0", "update_only=true"),
        (f"preshared_key={'0' * 64}",),
        ("protocol_version=1",),
    ],
)
def test_a_change_of_a_peer_keeps_its_session(pair: Pair, lines: tuple[str, ...]) -> None:
    with pair.no_new_handshake():
        before = pair.peer()
        assert pair.near.set(f"public_key={pair.far_key}", *lines) == 0
        assert pair.pings()
        pair.wait_for(lambda after: after.tx_bytes > before.tx_bytes)
        after = pair.wait_for(lambda after: after.rx_bytes > before.rx_bytes)
        assert after.handshake == before.handshake


@pytest.mark.parametrize(
    "lines",
    [
        ("fwmark=7",),
        ("fwmark=0",),
        ("listen_port=0",),
        (f"public_key={STRANGER}", "allowed_ip=10.68.0.0/16"),
        (f"public_key={STRANGER}", "remove=true"),
    ],
)
def test_a_change_of_the_device_keeps_the_session(pair: Pair, lines: tuple[str, ...]) -> None:
    with pair.no_new_handshake():
        assert pair.near.set(*lines) == 0
        assert pair.pings()


def test_the_same_private_key_keeps_the_session(pair: Pair) -> None:
    private = pair.near.get().private_key
    with pair.no_new_handshake():
        assert pair.near.set(f"private_key={private}") == 0
        assert pair.pings()


def test_an_endpoint_is_used_at_once(pair: Pair) -> None:
    port = pair.far.get().listen_port
    with pair.no_new_handshake():
        lines = (f"public_key={pair.far_key}", "endpoint=127.0.0.1:9")
        assert pair.near.set(*lines) == 0
        assert not pair.pings(expected=False)
        assert pair.near.set(lines[0], f"endpoint=127.0.0.1:{port}") == 0
        assert pair.pings()


def test_a_source_belongs_to_the_longest_match_of_all_peers(pair: Pair) -> None:
    wide = (f"public_key={pair.far_key}", "allowed_ip=10.66.0.0/24")
    assert pair.near.set(*wide) == 0
    assert pair.near.set(f"public_key={STRANGER}", f"allowed_ip={FAR}/32") == 0
    before = pair.peer().rx_bytes
    assert ping(pair.far_host, NEAR, count=2, deadline=1).received == 0
    # It came and was the peer's, all the same.
    pair.wait_for(lambda after: after.rx_bytes > before)
    assert pair.near.set(f"public_key={STRANGER}", "remove=true") == 0
    assert ping(pair.far_host, NEAR).received > 0


def test_peers_that_are_replaced_by_themselves(pair: Pair) -> None:
    for device, peer in ((pair.near, pair.far_key), (pair.far, pair.near_key)):
        assert device.set(f"public_key={peer}", f"preshared_key={STRANGER}") == 0
    pair.connect()
    before = pair.peer()
    lines = (f"preshared_key={STRANGER}", f"allowed_ip={FAR}/32", f"endpoint={before.endpoint}")
    what = "peers that `replace_peers` finds named again"
    expected = pair.near.differs(what, ours=True, theirs=False)
    with pair.no_new_handshake():
        assert pair.near.set("replace_peers=true", f"public_key={pair.far_key}", *lines) == 0
        assert pair.pings(expected=expected) == expected  # it has its session
        if expected:
            pair.wait_for(lambda after: after.rx_bytes > before.rx_bytes)
        else:
            assert pair.peer().rx_bytes < before.rx_bytes
    pair.connect()


def test_another_preshared_key(pair: Pair) -> None:
    """The last one of the pair: its ends do not agree any more."""
    with pair.no_new_handshake():
        lines = (f"public_key={pair.far_key}", f"preshared_key={new_keys()[1]}")
        assert pair.near.set(*lines) == 0
        assert pair.pings()


def test_a_keepalive_that_is_switched_on_is_sent_at_once(device: Device) -> None:
    with device.host.call(_datagrams) as there:
        endpoint = f"endpoint=127.0.0.1:{there.getsockname()[1]}"
        lines = (f"public_key={STRANGER}", endpoint, "persistent_keepalive_interval=65535")
        assert device.set(f"private_key={new_keys()[0]}", *lines) == 0
        assert len(there.recv(2000)) == INITIATION


@pytest.mark.parametrize(
    "lines",
    [
        ("allowed_ip=10.67.0.0/16",),
        ("replace_allowed_ips=true",),
        ("persistent_keepalive_interval=9",),
        ("endpoint=127.0.0.1:9",),
    ],
)
def test_an_initiation_is_not_accepted_again_after_a_change(
    implementation: str, lines: tuple[str, ...]
) -> None:
    with paired(implementation) as pair, pair.near.host.call(_datagrams) as between:
        near, far_port = ("127.0.0.1", pair.near.get().listen_port), pair.far.get().listen_port
        peer = (f"public_key={pair.near_key}", f"endpoint=127.0.0.1:{between.getsockname()[1]}")

        def initiation() -> bytes:
            """Let the other begin anew, with the one between in our place."""
            assert pair.far.set(peer[0], "remove=true") == 0
            assert pair.far.set(*peer, "persistent_keepalive_interval=1") == 0
            while True:
                datagram, source = between.recvfrom(2000)
                if len(datagram) == INITIATION and source[1] == far_port:
                    return datagram

        first = initiation()
        between.sendto(first, near)
        assert _answered(between) == first[4:8]
        assert pair.near.set(f"public_key={pair.far_key}", *lines) == 0
        between.sendto(first, near)
        # What comes next is the answer to another one, or no answer to the same for long.
        others = set()
        while True:
            between.sendto(another := initiation(), near)
            others.add(another[4:8])
            between.settimeout(0.5)
            try:
                answered = _answered(between)
            except TimeoutError:
                continue  # it came too soon after the one before, or the machine is busy
            finally:
                between.settimeout(PATIENCE)
            assert answered in others
            return


def _datagrams() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(PATIENCE)
    return made


def _answered(there: socket.socket) -> bytes:
    """Wait for a handshake response; return the index of the initiation that it answers."""
    while len(datagram := there.recv(2000)) != RESPONSE:
        pass
    return datagram[8:12]
