"""What each preset lets through: real packets among all hosts, against tables written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from net.crossroads import WAN1, WAN2
from net.ends import ENDS, IN_TUNNEL, Guarded, Reached, between, reached
from net.probe import Protocol
from net.written import Network, Written

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL: tuple[Protocol, ...] = get_args(Protocol)

FROM_HOST = between({"host"}, IN_TUNNEL, *ALL)
PING_HOST = between(IN_TUNNEL, {"host"}, "ping")
EACH_OTHER = between(IN_TUNNEL, IN_TUNNEL, *ALL)
NETWORKS = {
    "lan": Network(("192.168.7.0/24", "fd07::/64")),
    "office": Network(("192.168.8.0/24", "fd08::/64")),
}


def outwards(*names: str) -> Reached:
    return between(IN_TUNNEL, names, *ALL)


def both_ways(*names: str) -> Reached:
    return outwards(*names) | between(names, IN_TUNNEL, *ALL)


@pytest.fixture(scope="module")
def crossroads() -> Iterator[Guarded]:
    with Guarded() as hosts:
        yield hosts


CASES = {
    "gateway": (Written(("gateway",)), FROM_HOST | PING_HOST | outwards("internet")),
    "gateway of two": (
        Written(("gateway",), egress=(WAN2, WAN1)),
        FROM_HOST | PING_HOST | outwards("internet", "elsewhere"),
    ),
    "gateway of all": (  # but not to a named network: that is not the internet
        Written(("gateway",), egress=None),
        FROM_HOST | PING_HOST | outwards("internet", "elsewhere", "office"),
    ),
    "gateway of none": (Written(("gateway",), egress=()), FROM_HOST | PING_HOST),
    "hub": (Written(("hub",)), FROM_HOST | PING_HOST | EACH_OTHER),
    "isolated": (Written(("isolated",)), FROM_HOST),
    "site": (Written(("site",)), FROM_HOST | PING_HOST | EACH_OTHER | both_ways("lan")),
    "site of two": (
        Written(("site",), networks=NETWORKS),
        FROM_HOST | PING_HOST | EACH_OTHER | both_ways("lan", "office"),
    ),
    "site of none": (Written(("site",), networks={}), FROM_HOST | PING_HOST | EACH_OTHER),
    "gateway and hub": (
        Written(("gateway", "hub")),
        FROM_HOST | PING_HOST | EACH_OTHER | outwards("internet"),
    ),
    "site and gateway": (
        Written(("site", "gateway")),
        FROM_HOST | PING_HOST | EACH_OTHER | both_ways("lan") | outwards("internet"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_preset(crossroads: Guarded, case: str) -> None:
    written, expected = CASES[case]
    crossroads.enforce(written)
    assert reached(crossroads, *ALL) == expected


def test_without_rules_all_reach_all(crossroads: Guarded) -> None:
    """The tables above say something: nothing else stops these packets."""
    crossroads.enforce(Written(("isolated",)))
    crossroads.lift()
    everything = between(ENDS, IN_TUNNEL, "udp") | between(IN_TUNNEL, ENDS, "udp")
    assert reached(crossroads, "udp") == everything
