"""Many peers written together, and who has which prefix in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from harness.peer import make_peer
from wgbind.errors import InputError
from wgbind.keys import PrivateKey
from wgbind.settings.address import Address
from wgbind.store import Peer, Store
from wgbind.store.occupancy import Occupancy


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


def test_nobody_gets_an_address_of_what_is_behind_another(store: Store) -> None:
    """`wg` and files of wg-quick may put a part of the tunnel's network behind a peer, or all."""
    pool = ip_interface("10.8.0.1/24")
    behind = (["10.8.0.0/29", "10.8.0.0/30", "10.8.0.10/32"], ["10.8.0.0/24"])
    sites = [
        replace(make_peer(number), addresses=(), routed_networks=tuple(map(ip_network, networks)))
        for number, networks in enumerate(behind)
    ]
    free = store.free("wg0", pool)
    store.revise("wg0", lambda _: Revised(added=tuple(sites)))

    def added(name: str, *addresses: Address) -> str:
        key = PrivateKey.generate().public_key()
        peer = store.add_peer(
            "wg0", name, pools=[pool], public_key=key, addresses=addresses or None
        )
        return str(peer.addresses[0])

    assert [added(name) for name in "abc"] == ["10.8.0.8", "10.8.0.9", "10.8.0.11"]
    # Six of the /29, whose first is no host's and second the server's, the single one, and these.
    assert store.free("wg0", pool) == free - 6 - 1 - 3
    # Who asks for one by name gets it: the longest prefix wins.
    assert added("d", ip_address("10.8.0.3")) == "10.8.0.3"


def test_who_has_a_prefix_has_not_what_is_within() -> None:
    one = replace(make_peer(2), routed_networks=(ip_network("10.0.0.0/30"),))
    other = replace(make_peer(3), routed_networks=(ip_network("10.0.0.0/31"),))
    occupancy = Occupancy([one, other])
    found = {
        text: occupancy.holder(ip_network(text))
        for text in ("10.0.0.0/30", "10.0.0.0/31", "10.0.0.2/32", "10.0.0.0/32", "0.0.0.0/0")
    }
    assert list(found.values()) == ["p2", "p3", "p2", None, None]
    occupancy.discard(other.allowed_ips)
    assert occupancy.holder(ip_network("10.0.0.0/31")) is None
    assert occupancy.holder(ip_network("10.0.0.0/30")) == "p2"
