"""Peers whose networks contain each other: whose an address is at each step; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, ip_network

from hypothesis import given
from hypothesis import strategies as st

from harness.peer import make_peer
from wgbind.keys import PublicKey
from wgbind.server.peer_edit import PeerEdit, peer_edits
from wgbind.server.surroundings import Surroundings
from wgbind.store.peer import Peer

WORLD = IPv4Network("10.9.0.0/28")
OWN = (IPv4Network("10.9.0.4/30"), IPv4Network("10.9.0.12/31"))
PEERS = [replace(make_peer(number), addresses=()) for number in range(3)]

networks = st.builds(
    lambda number, length: IPv4Network((int(WORLD[number]), length), strict=False),
    st.integers(0, 15),
    st.sampled_from([0, 1, 27, 28, 29, 30, 31, 32]),
)
owned = st.dictionaries(networks, st.sampled_from(range(3)), max_size=8)
"""Who has which prefix."""


@dataclass(frozen=True)
class Found:
    public_key: PublicKey
    allowed_ips: tuple[str, ...]
    has_preshared_key: bool = False
    persistent_keepalive: int = 0


def peers(owners: Mapping[IPv4Network, int]) -> list[Peer]:
    """Make the peers who have any of these."""
    return [
        replace(peer, routed_networks=networks)
        for number, peer in enumerate(PEERS)
        if (networks := tuple(each for each, owner in owners.items() if owner == number))
    ]


def table(made: list[Peer]) -> dict[str, PublicKey]:
    """Return the prefixes that a device has then."""
    return {str(network): peer.public_key for peer in made for network in peer.routed_networks}


def owner(table: Mapping[str, PublicKey], address: IPv4Address) -> PublicKey | None:
    """Find who has the longest prefix, slowly."""
    found = {ip_network(text): key for text, key in table.items()}
    around = [network for network in found if address in network]
    return found[max(around, key=lambda each: each.prefixlen)] if around else None


def apply(table: dict[str, PublicKey], edit: PeerEdit) -> None:
    """Change a device's prefixes: each is of the last who gets it."""
    key = edit["public_key"]
    for text in [text for text, other in table.items() if other == key]:
        del table[text]
    table.update(dict.fromkeys(edit.get("allowed_ips", ()), key))


@given(owned, owned)
def test_what_changes_hands_is_nobodys_while_the_firewall_changes(
    old: dict[IPv4Network, int], new: dict[IPv4Network, int]
) -> None:
    """And who keeps an address has it all the time, unless a prefix around it goes or comes."""
    before, after = table(peers(old)), table(peers(new))
    applied = {peer.public_key: peer for peer in peers(old)}
    found = [
        Found(key, tuple(text for text, other in before.items() if other == key)) for key in applied
    ]
    made = peer_edits(peers(new), applied, found)
    between = dict(before)
    for edit in made.taken:
        apply(between, edit)
    changed = [text for text in before.keys() | after.keys() if before.get(text) != after.get(text)]
    for address in WORLD:
        had, gets, has = (owner(each, address) for each in (before, after, between))
        assert has is None or has == had == gets
        if had == gets and not any(address in ip_network(text) for text in changed):
            assert has == had
    for edit in made.given:
        apply(between, edit)
    assert between == after


def test_a_single_address_that_comes_leaves_the_rest_of_the_network() -> None:
    site, phone = PEERS[:2]
    site = replace(site, routed_networks=(ip_network("10.9.0.0/30"),))
    phone = replace(phone, routed_networks=(ip_network("10.9.0.1/32"),))
    found = Found(site.public_key, ("10.9.0.0/30",))
    made = peer_edits([site, phone], {site.public_key: site}, [found])
    [taken] = made.taken
    assert set(taken["allowed_ips"]) == {"10.9.0.0/32", "10.9.0.2/31"}
    assert {tuple(edit["allowed_ips"]) for edit in made.given} == {
        ("10.9.0.0/30",),
        ("10.9.0.1/32",),
    }


def test_an_own_address_in_an_own_network_cuts_nothing_out() -> None:
    own = (*OWN, IPv4Network("10.9.0.5/32"))
    peer = replace(PEERS[0], routed_networks=(IPv4Network("10.9.0.4/31"),))
    assert Surroundings(own, [peer]).given(peer) is peer


@given(owned)
def test_networks_around_the_tunnels_own_leave_them_out(owners: dict[IPv4Network, int]) -> None:
    """And of all else, whoever has the longest prefix has it, as if nothing was left out."""
    made = peers(owners)
    surroundings = Surroundings(OWN, made)
    told = table([surroundings.given(peer) for peer in made])
    inside = {
        text: key
        for text, key in table(made).items()
        if any(IPv4Network(text).subnet_of(own) for own in OWN)
    }
    for address in (*WORLD, IPv4Address("1.1.1.1"), IPv4Address("200.0.0.1")):
        in_tunnel = any(address in own for own in OWN)
        assert owner(told, address) == owner(inside if in_tunnel else table(made), address)
    for peer in made:
        has = frozenset(surroundings.given(peer).routed_networks)
        assert surroundings.whole(has, peer.routed_networks) == frozenset(peer.routed_networks)
