"""What becomes of the store when `wg` changed the device; pure, on real keys."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from harness.peer import make_peer
from wgbind.keys import PresharedKey, PrivateKey, PublicKey
from wgbind.server.foreign import Foreign, Outcome, adopt
from wgbind.server.surroundings import Surroundings
from wgbind.store.peer import Peer

POOLS = (ip_interface("10.0.0.1/24"), ip_interface("fd00::1/64"))
OWN = [pool.network for pool in POOLS]
NOW = datetime(2026, 5, 17, tzinfo=timezone.utc)
KEYS = [PrivateKey.generate().public_key() for _ in range(4)]
PRESHARED = [PresharedKey.generate() for _ in range(2)]


@dataclass(frozen=True)
class Found:
    """A peer as a device has it."""

    public_key: PublicKey
    preshared_key: PresharedKey | None = None
    allowed_ips: tuple[str, ...] = ()
    persistent_keepalive: int = 0
    endpoint: tuple[str, int] | None = None


def peer(number: int = 0, **changes: Any) -> Peer:
    made = replace(make_peer(number + 2), public_key=KEYS[number], preshared_key=PRESHARED[0])
    return replace(made, **changes)


def found(made: Peer, **changes: Any) -> Found:
    """Describe the device's peer that `made` becomes, and what somebody changed of it."""
    given = Surroundings(OWN, [made]).given(made)
    return replace(
        Found(
            made.public_key,
            made.preshared_key,
            tuple(map(str, given.allowed_ips)),
            made.persistent_keepalive,
            made.endpoint,
        ),
        **changes,
    )


def outcome(
    stored: Iterable[Peer],
    device: Iterable[Found],
    applied: Iterable[Peer],
    endpoints: Iterable[PublicKey] = (),
) -> Outcome:
    """Somebody touched everybody that was or is on the device, and gave some an endpoint."""
    present: dict[PublicKey, Any] = {each.public_key: each for each in device}
    applied = list(applied)
    base = {each.public_key: Surroundings(OWN, applied).given(each) for each in applied}
    touched = {key: key in set(endpoints) for key in (*present, *base)}
    return adopt("wg0", list(stored), Foreign(touched, present, base), POOLS, NOW)


def test_nothing_that_differs_changes_nothing() -> None:
    peers = [peer(0), peer(1, routed_networks=(ip_network("0.0.0.0/0"),))]
    result = outcome(peers, map(found, peers), peers)
    assert (result.added, result.changed, result.removed, result.refused) == ([], [], [], {})
    assert result.peers == peers


def test_new_peer_gets_a_name_addresses_and_networks() -> None:
    new = Found(
        KEYS[0],
        PRESHARED[0],
        ("10.0.0.9/32", "fd00::9/128", "192.168.5.0/24", "203.0.113.7/32"),
        25,
        ("192.0.2.7", 7),
    )
    [made] = outcome([], [new], []).added
    assert made.name == f"wg-{str(KEYS[0])[:8].replace('/', '_')}"
    assert made.addresses == (ip_address("10.0.0.9"), ip_address("fd00::9"))
    assert list(map(str, made.routed_networks)) == ["192.168.5.0/24", "203.0.113.7/32"]
    assert (made.preshared_key, made.persistent_keepalive) == (PRESHARED[0], 25)
    assert (made.endpoint, made.enabled) == (("192.0.2.7", 7), True)


@pytest.mark.parametrize(
    ("on_device", "in_store"),
    [
        ({"preshared_key": PRESHARED[1]}, {"preshared_key": PRESHARED[1]}),
        ({"preshared_key": None}, {"preshared_key": None}),
        ({"persistent_keepalive": 7}, {"persistent_keepalive": 7}),
        (
            {"allowed_ips": ("10.0.0.77/32", "10.9.0.0/16")},
            {
                "addresses": (ip_address("10.0.0.77"),),
                "routed_networks": (ip_network("10.9.0.0/16"),),
            },
        ),
        ({"allowed_ips": ()}, {"addresses": (), "routed_networks": ()}),
    ],
)
def test_what_wg_changed_is_taken_and_the_rest_stays(
    on_device: dict[str, Any], in_store: dict[str, Any]
) -> None:
    old = peer(name="phone", groups=frozenset({"staff"}), endpoint=("host.example", 7))
    result = outcome([old], [found(old, **on_device)], [old])
    assert result.changed == [replace(old, **in_store)]


def test_only_an_endpoint_that_wg_gave_is_taken() -> None:
    old = peer(endpoint=("host.example", 7))
    roamed = found(old, endpoint=("192.0.2.1", 1))
    assert outcome([old], [roamed], [old]).changed == []
    given = outcome([old], [roamed], [old], endpoints=[KEYS[0]])
    assert [each.endpoint for each in given.changed] == [("192.0.2.1", 1)]
    # The reconciler does not give it again.
    assert [each.endpoint for each in given.given] == [("192.0.2.1", 1)]


def test_the_store_wins_where_both_changed_the_same() -> None:
    base = peer(persistent_keepalive=1)
    stored = replace(base, persistent_keepalive=2)
    device = found(base, persistent_keepalive=3, preshared_key=PRESHARED[1])
    [changed] = outcome([stored], [device], [base]).changed
    assert (changed.persistent_keepalive, changed.preshared_key) == (2, PRESHARED[1])


def test_who_is_gone_from_the_device_is_gone() -> None:
    one, two = peer(0), peer(1)
    result = outcome([one, two], [found(two)], [one, two])
    assert (result.removed, result.peers) == ([one], [two])
    # Unless the store said something new of them that the device had not heard.
    changed = replace(one, persistent_keepalive=9)
    assert outcome([changed, two], [found(two)], [one, two]).removed == []
    # And whoever was roaming is gone as well.
    assert outcome([replace(one, endpoint=("a.example", 1))], [], [one]).removed != []


def test_who_is_disabled_or_expired_stays_so() -> None:
    for changes in ({"enabled": False}, {"expires_at": NOW - timedelta(seconds=1)}):
        old = peer(name="phone", **changes)
        result = outcome([old], [found(old, persistent_keepalive=7)], [])
        assert (result.peers, result.changed) == ([old], [])
        # It is the server's to take off the device again.
        assert [each.public_key for each in result.given] == [KEYS[0]]
        assert "phone" in result.undone[0]
        # Nobody removes them by a file that does not name them.
        assert outcome([old], [], []).removed == []


def test_whom_the_store_removed_wg_does_not_bring_back() -> None:
    base = peer()
    result = outcome([], [found(base, persistent_keepalive=7)], [base])
    assert (result.peers, result.added) == ([], [])


def test_addresses_move_from_peer_to_peer() -> None:
    one, two = peer(0), peer(1)
    moved = found(two, allowed_ips=(*found(two).allowed_ips, *found(one).allowed_ips))
    result = outcome([one, two], [found(one, allowed_ips=()), moved], [one, two])
    assert result.refused == {}
    assert [len(each.addresses) for each in result.changed] == [0, 4]


@pytest.mark.parametrize(
    ("allowed_ips", "word"),
    [
        (("10.0.0.1/32",), "10.0.0.1"),  # the server
        (("224.0.0.0/4",), "multicast"),
        (("192.168.0.0/16",), "two"),  # that of one who is disabled
    ],
)
def test_what_the_store_cannot_keep_is_said(allowed_ips: tuple[str, ...], word: str) -> None:
    two = peer(1, name="two", enabled=False, routed_networks=(ip_network("192.168.0.0/16"),))
    new = Found(KEYS[0], None, allowed_ips)
    result = outcome([two], [new], [])
    assert (result.added, result.peers) == ([], [two])
    assert word in result.refused[KEYS[0]]
    # Of who is known already, the store's stays.
    old = peer(0)
    result = outcome([two, old], [found(old, allowed_ips=allowed_ips)], [old])
    assert (result.changed, set(result.peers)) == ([], {two, old})
    assert word in result.undone[0]


def test_networks_that_contain_each_other_are_kept() -> None:
    """Even if it is the tunnel's own, or a part of it."""
    two = peer(1, routed_networks=(ip_network("192.168.0.0/16"),))
    texts = ("192.168.0.0/24", "192.168.0.0/17", "10.0.0.0/24", "10.0.0.0/28", "10.0.0.0/8")
    new = Found(KEYS[0], None, texts)
    result = outcome([two], [new, found(two)], [two])
    assert (result.refused, result.changed) == ({}, [])
    assert set(map(str, result.added[0].routed_networks)) == set(texts)


def test_a_prefix_is_of_who_claimed_it_last() -> None:
    """Of the other one, whom `wg` did not name, it is gone: from the device, and from the store."""
    network = ip_network("192.168.0.0/16")
    two = peer(1, routed_networks=(network, ip_network("fd77::/48")))
    new = Found(KEYS[0], None, ("192.168.0.0/16", "10.0.0.3/32"))
    left = found(two, allowed_ips=("fd00::3/128", "fd77::/48"))
    present: dict[PublicKey, Any] = {KEYS[0]: new, KEYS[1]: left}
    foreign = Foreign({KEYS[0]: False}, present, {KEYS[1]: two})
    result = adopt("wg0", [two], foreign, POOLS, NOW)
    assert (result.refused, result.undone) == ({}, [])
    [added], [changed] = result.added, result.changed
    assert (added.addresses, added.routed_networks) == ((two.addresses[0],), (network,))
    assert changed == replace(
        two, addresses=two.addresses[1:], routed_networks=two.routed_networks[1:]
    )


def test_a_default_route_is_one_again() -> None:
    old = peer(routed_networks=(ip_network("0.0.0.0/0"),))
    more = found(old, allowed_ips=(*found(old).allowed_ips, "fd77::/64"))
    [changed] = outcome([old], [more], [old]).changed
    assert list(map(str, changed.routed_networks)) == ["0.0.0.0/0", "fd77::/64"]
    [changed] = outcome([old], [found(old, allowed_ips=("0.0.0.0/0",))], [old]).changed
    assert (changed.addresses, list(map(str, changed.routed_networks))) == ((), ["0.0.0.0/0"])
