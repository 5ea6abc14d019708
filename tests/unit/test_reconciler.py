"""The smallest change that gives a device its peers; pure, on real keys."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.peer import make_peer
from wgbind.keys import PresharedKey, PrivateKey, PublicKey
from wgbind.server.peer_edit import PeerEdit, PeerEdits, peer_edits
from wgbind.server.surroundings import Surroundings
from wgbind.store.peer import Peer

KEYS = [PrivateKey.generate().public_key() for _ in range(4)]
PRESHARED = [PresharedKey.generate() for _ in range(2)]


@dataclass(frozen=True)
class Found:
    """A peer as a device has it."""

    public_key: PublicKey
    has_preshared_key: bool = False
    allowed_ips: tuple[str, ...] = ()
    persistent_keepalive: int = 0


def peer(number: int = 0, **changes: Any) -> Peer:
    made = replace(
        make_peer(number + 2),
        public_key=KEYS[number],
        preshared_key=PRESHARED[0],
    )
    return replace(made, **changes)


def found(made: Peer) -> Found:
    """Describe the device's peer that `made` becomes."""
    return Found(
        made.public_key,
        has_preshared_key=made.preshared_key is not None,
        allowed_ips=tuple(str(network) for network in made.allowed_ips),
        persistent_keepalive=made.persistent_keepalive,
    )


def edits(
    desired: Iterable[Peer], applied: Iterable[Peer] = (), present: Iterable[Found] = ()
) -> PeerEdits:
    return peer_edits(desired, {each.public_key: each for each in applied}, present)


def test_nothing_to_do_gives_no_edit() -> None:
    peers = [peer(0), peer(1, endpoint=("192.0.2.1", 7), persistent_keepalive=25)]
    assert edits(peers, peers, map(found, peers)) == PeerEdits([], [])


def test_new_peer_gets_everything() -> None:
    new = peer(endpoint=("192.0.2.1", 7), persistent_keepalive=25)
    edit: PeerEdit = {
        "public_key": KEYS[0],
        "preshared_key": PRESHARED[0],
        "endpoint": ("192.0.2.1", 7),
        "persistent_keepalive": 25,
        "replace_allowed_ips": True,
        "allowed_ips": ["10.0.0.2/32", "fd00::2/128"],
    }
    assert edits([new]) == PeerEdits([], [edit])


@pytest.mark.parametrize(
    ("change", "edit"),
    [
        ({"name": "renamed"}, {}),
        ({"preshared_key": PRESHARED[1]}, {"preshared_key": PRESHARED[1]}),
        ({"preshared_key": None}, {"clear_preshared_key": True}),
        ({"endpoint": ("192.0.2.9", 9)}, {"endpoint": ("192.0.2.9", 9)}),
        ({"endpoint": None}, {}),
        ({"persistent_keepalive": 0}, {"persistent_keepalive": 0}),
        (
            {"routed_networks": (ip_network("192.0.2.0/24"),)},
            {
                "replace_allowed_ips": True,
                "allowed_ips": ["10.0.0.2/32", "fd00::2/128", "192.0.2.0/24"],
            },
        ),
    ],
)
def test_change_of_a_peer_names_only_what_changed(
    change: dict[str, Any], edit: dict[str, Any]
) -> None:
    old = peer(endpoint=("192.0.2.1", 7), persistent_keepalive=25)
    expected: Any = [{"public_key": KEYS[0], **edit}] if edit else []
    assert edits([replace(old, **change)], [old], [found(old)]) == PeerEdits([], expected)


def test_removed_peer_goes_before_others_take_its_address() -> None:
    old, heir = peer(0), peer(1, addresses=peer(0).addresses)
    made = edits([heir], [old], [found(old)])
    assert made.taken == [{"public_key": KEYS[0], "remove": True}]
    (addition,) = made.given
    assert addition["public_key"] == KEYS[1]


def test_address_that_moves_is_taken_before_it_is_given() -> None:
    """Or its new owner would have what the rules still allow the old one."""
    one, other, stranger = peer(0), peer(1), peer(2)
    addresses = (one.addresses[0], stranger.addresses[1])
    heir = replace(other, addresses=addresses)
    left = replace(one, addresses=one.addresses[1:])
    made = edits([left, heir], [one, other], map(found, [one, other, stranger]))
    assert made.taken == [
        {"public_key": KEYS[0], "replace_allowed_ips": True, "allowed_ips": ["fd00::2/128"]},
        {"public_key": KEYS[1], "replace_allowed_ips": True, "allowed_ips": []},
        {"public_key": KEYS[2], "replace_allowed_ips": True, "allowed_ips": ["10.0.0.4/32"]},
    ]
    assert made.given == [
        {
            "public_key": KEYS[1],
            "replace_allowed_ips": True,
            "allowed_ips": ["10.0.0.2/32", "fd00::4/128"],
        }
    ]


def test_peer_of_wg_set_is_left_alone() -> None:
    ours, stranger = peer(0), Found(KEYS[3], allowed_ips=("203.0.113.7/32",))
    assert edits([ours], [ours], [found(ours), stranger]) == PeerEdits([], [])


def test_peer_of_wg_set_that_the_store_names_is_taken_over() -> None:
    made = edits([peer(0)], [], [Found(KEYS[0], True, ("203.0.113.7/32",), 9)])
    assert made.taken == [
        {"public_key": KEYS[0], "replace_allowed_ips": True, "allowed_ips": []},
    ]
    (edit,) = made.given
    assert edit == {
        "public_key": KEYS[0],
        "preshared_key": PRESHARED[0],
        "persistent_keepalive": 0,
        "replace_allowed_ips": True,
        "allowed_ips": ["10.0.0.2/32", "fd00::2/128"],
    }


def test_what_was_changed_by_hand_is_changed_back() -> None:
    ours = peer(0)
    tampered = replace(found(ours), allowed_ips=("0.0.0.0/0",), has_preshared_key=False)
    made = edits([ours], [ours], [tampered])
    assert made.taken[0]["allowed_ips"] == []
    (edit,) = made.given
    assert edit.keys() == {"public_key", "preshared_key", "replace_allowed_ips", "allowed_ips"}


def test_peer_removed_by_hand_comes_back_whole_and_one_of_no_use_stays_away() -> None:
    kept, dropped = peer(0, endpoint=("192.0.2.1", 7)), peer(1)
    assert edits([kept], [kept, dropped], []) == edits([kept])


def test_a_default_route_is_not_for_the_tunnels_own_networks() -> None:
    own = (ip_network("128.0.0.0/2"), ip_network("8000::/2"))
    networks = ("192.0.2.0/24", "0.0.0.0/0", "::/0")
    way_out = peer(routed_networks=tuple(map(ip_network, networks)))
    surroundings = Surroundings(own, [way_out])
    given = surroundings.given(way_out)
    rest = ("192.0.2.0/24", "0.0.0.0/1", "192.0.0.0/2", "::/1", "c000::/2")
    assert given.routed_networks == tuple(map(ip_network, rest))
    assert given.addresses == way_out.addresses
    assert surroundings.given(peer()) == peer()


def test_text_of_prefixes_is_compared_by_its_meaning() -> None:
    ours = peer(addresses=(ip_address("fd00::ab:0:2"),))
    spelled = replace(found(ours), allowed_ips=("FD00:0:0:0:0:AB:0:2/128",))
    assert edits([ours], [ours], [spelled]) == PeerEdits([], [])


peers = st.lists(st.sampled_from(range(4)), unique=True).flatmap(
    lambda numbers: st.tuples(
        *(
            st.builds(
                peer,
                st.just(number),
                preshared_key=st.sampled_from([None, *PRESHARED]),
                persistent_keepalive=st.sampled_from([0, 25]),
                routed_networks=st.sampled_from([(), (ip_network(f"192.0.{number}.0/24"),)]),
            )
            for number in numbers
        )
    )
)


def apply(device: dict[PublicKey, Found], edit: PeerEdit) -> None:
    """Change a slow model of the device."""
    key = edit["public_key"]
    if edit.get("remove"):
        del device[key]
        return
    old = device.get(key, Found(key))
    assert edit.get("replace_allowed_ips", False) == ("allowed_ips" in edit)
    allowed_ips = edit.get("allowed_ips", old.allowed_ips)
    for other, peer in device.items():
        rest = tuple(each for each in peer.allowed_ips if each not in allowed_ips)
        device[other] = replace(peer, allowed_ips=rest)
    device[key] = Found(
        key,
        "preshared_key" in edit
        or (old.has_preshared_key and not edit.get("clear_preshared_key", False)),
        tuple(allowed_ips),
        edit.get("persistent_keepalive", old.persistent_keepalive),
    )


@given(before=peers, desired=peers, strangers=peers, shift=st.integers(0, 3))
def test_edits_lead_to_what_is_desired(
    before: tuple[Peer, ...], desired: tuple[Peer, ...], strangers: tuple[Peer, ...], shift: int
) -> None:
    """With peers of `wg set` beside those of the store, and addresses that change hands."""
    desired = tuple(
        replace(each, addresses=peer((KEYS.index(each.public_key) + shift) % 4).addresses)
        for each in desired
    )
    ours = {each.public_key: each for each in before}
    others = {each.public_key: each for each in strangers if each.public_key not in ours}
    device = {key: found(each) for key, each in (ours | others).items()}
    wanted = {each.public_key: found(each) for each in desired}
    owners = {text: key for key, each in wanted.items() for text in each.allowed_ips}
    had = {key: set(each.allowed_ips) for key, each in device.items()}

    made = peer_edits(desired, ours, list(device.values()))
    for edit in made.taken:
        apply(device, edit)
    # Now the firewall changes, and nobody has an address that it takes for another's.
    for key, each in device.items():
        assert set(each.allowed_ips) <= had[key]
        assert all(owners.get(text, key) == key for text in each.allowed_ips)
        assert key not in wanted or set(each.allowed_ips) <= set(wanted[key].allowed_ips)
    kept = {key: device[key] for key in others if key not in wanted}
    for key, each in kept.items():
        assert set(each.allowed_ips) == had[key] - owners.keys()
    for edit in made.given:
        apply(device, edit)
    assert device == wanted | kept
