"""Networks behind peers: a change of some leaves device and host as a look at all of them does."""

import random
import subprocess

import pytest

from harness import Api
from wgbind import ConflictError, Server, Transaction
from wgbind.settings.address import Network, parse_network

NAMES = [f"site{number}" for number in range(6)]
WORLD = [
    *("0.0.0.0/0", "10.200.0.0/14", "10.200.0.0/16", "10.200.7.0/24", "10.200.7.9/32"),
    *("10.201.0.0/16", "10.202.1.0/24", "192.0.2.0/24", "192.0.2.128/25"),
    *("::/0", "fd99::/32", "fd99:0:1::/48", "fd99:0:1:2::/64", "fd99:1::/48"),
]


def printed(*argv: str) -> set[str]:
    return {" ".join(sorted(line.split())) for line in _lines(*argv)}


def _lines(*argv: str) -> list[str]:
    run = subprocess.run(argv, check=True, capture_output=True, text=True)
    return run.stdout.splitlines()


def state(server: Server) -> tuple[set[str], ...]:
    """Return the device's networks by peer, and the server's routes."""
    routes = (printed("ip", each, "route", "show", "proto", "87") for each in ("-4", "-6"))
    return printed("wg", "show", server.name, "allowed-ips"), *routes


def drawn(draw: random.Random) -> list[Network]:
    return [parse_network(each) for each in draw.sample(WORLD, draw.randint(0, 3))]


def change(draw: random.Random, server: Server, transaction: Transaction) -> None:
    """Ask for a change that may be refused."""
    name = draw.choice(NAMES)
    if name not in {peer.name for peer in server.peers.list()}:
        transaction.add(name, routed_networks=drawn(draw))
        return
    match draw.choice(["update", "update", "switch", "rotate", "remove"]):
        case "update":
            transaction.update(name, routed_networks=tuple(drawn(draw)))
        case "switch":
            transaction.update(name, enabled=not server.peers.get(name).enabled)
        case "rotate":
            transaction.rotate(name)
        case _:
            transaction.remove(name)


@pytest.mark.parametrize("seed", range(2))
def test_change_of_some_networks_is_as_if_all_were_looked_at(api: Api, seed: int) -> None:
    draw, server = random.Random(seed), api.server  # noqa: S311  not for secrets
    made = 0
    while made < 40:
        try:
            with server.peers.transaction() as transaction:
                change(draw, server, transaction)
        except ConflictError:
            continue  # another peer has that network
        made += 1
        after = state(server)
        server.reload()
        assert state(server) == after, f"change {made}"
    server.peers.remove_many([peer.name for peer in server.peers.list()])
    assert state(server) == (set(), set(), set())
