"""Many peers written together, and who has which addresses in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.peer import make_peer
from wgbind.errors import InputError
from wgbind.settings.address import Network
from wgbind.store import Peer, Store
from wgbind.store.occupancy import Occupancy, overlapping


@dataclass(frozen=True)
class Revised:
    added: tuple[Peer, ...] = ()
    changed: tuple[Peer, ...] = ()
    removed: tuple[Peer, ...] = ()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/wgbind.db") as opened:
        yield opened


def test_addresses_go_from_one_to_the_other(store: Store) -> None:
    one, two, three = (make_peer(number, "staff") for number in (2, 3, 4))
    store.revise("wg0", lambda _: Revised(added=(one, two, three)))
    assert store.peers("wg0") == [one, two, three]
    version = store.version()
    swapped = (
        replace(one, addresses=two.addresses, groups=frozenset()),
        replace(two, addresses=one.addresses, name="renamed"),
    )
    store.revise("wg0", lambda old: Revised(changed=swapped, removed=tuple(old[2:])))
    assert store.peers("wg0") == list(swapped)
    changes = store.changes("wg0", version)
    assert {peer.name for peer in changes.peers.values()} == {"p2", "renamed"}
    assert len(changes.removed) == 1


def test_all_is_written_or_nothing(store: Store) -> None:
    one = make_peer(2)
    store.revise("wg0", lambda _: Revised(added=(one,)))

    def refuse(old: object) -> Revised:
        raise InputError(f"not {old}")

    with pytest.raises(InputError):
        store.revise("wg0", refuse)
    assert store.peers("wg0") == [one]


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Of a small world, so that they meet."""
    if draw(st.booleans()):
        length = draw(st.sampled_from([0, 28, 29, 30, 31, 32]))
        return IPv4Network((draw(st.integers(0, 15)), length), strict=False)
    length = draw(st.sampled_from([0, 125, 126, 127, 128]))
    return IPv6Network((draw(st.integers(0, 7)), length), strict=False)


def clash(one: Network, other: Network) -> bool:
    """Whether two peers cannot have both: a default route is what nobody else has."""
    if one.version != other.version:
        return False
    if one.network_address == other.network_address:
        return True
    return one.prefixlen > 0 and other.prefixlen > 0 and one.overlaps(other)


@given(st.lists(networks(), max_size=12))
def test_nobody_gets_what_another_has(wanted: list[Network]) -> None:
    occupancy = Occupancy()
    had: dict[Network, str] = {}
    for number, network in enumerate(wanted):
        others = [other for other in had if clash(network, other)]
        found = occupancy.overlap(network)
        assert (found is not None) == bool(others)
        if found is None:
            occupancy.add([network], f"p{number}")
            had[network] = f"p{number}"
        else:
            other, name = found
            assert had[other] == name
            assert other in others


@given(st.lists(networks(), max_size=6))
def test_what_overlaps_within_a_peer_is_found(wanted: list[Network]) -> None:
    wider = [network for network in wanted if network.prefixlen > 0]
    expected = any(
        one.version == other.version and one.overlaps(other)
        for number, one in enumerate(wider)
        for other in wider[number + 1 :]
    )
    assert (overlapping(wanted) is not None) == expected


def test_peers_of_the_store_have_theirs() -> None:
    peer = replace(make_peer(2), routed_networks=(ip_network("0.0.0.0/0"),))
    occupancy = Occupancy([peer])
    assert occupancy.overlap(ip_network("10.0.0.0/30")) == (ip_network("10.0.0.2/32"), "p2")
    assert occupancy.overlap(ip_network("0.0.0.0/0")) == (ip_network("0.0.0.0/0"), "p2")
    assert occupancy.overlap(ip_network("10.0.0.4/30")) is None
