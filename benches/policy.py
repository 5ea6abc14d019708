"""A policy as large as an operator's, applied in this process's network namespace.

    python policy.py INTERFACE ADDRESS...

The peer with these addresses is the first of 10,000 in 100 groups, with 1,000 rules; it may reach
everything but what the rules for its own group deny. Prints two numbers: the seconds to apply that
where there was nothing, and those to add one more peer.
"""

import sys
import time
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface

from wgbind.firewall.apply import Firewall
from wgbind.firewall.policy import Policy
from wgbind.settings.address import Address, Network
from wgbind.settings.policy import PolicySettings

PEERS, GROUPS, RULES = 10_000, 100, 1_000
SERVER = (ip_interface("10.127.255.254/10"), ip_interface("fd64::ffff/64"))


@dataclass(frozen=True)
class Member:
    """A peer, as the policy knows it."""

    name: str
    groups: frozenset[str]
    addresses: tuple[Address, ...]
    routed_networks: tuple[Network, ...] = field(default=())


def member(number: int, *addresses: Address) -> Member:
    """Return a peer in one group, with given addresses or those of its number."""
    ipv4, ipv6 = (address.network.network_address + number for address in SERVER)
    group = f"group{number % GROUPS}"
    return Member(f"peer{number}", frozenset({group}), addresses or (ipv4, ipv6))


def rule(number: int) -> str:
    """Return a rule from one group to another, or to a host beyond the tunnel."""
    to = f"group{(number * 7 + 1) % GROUPS}" if number % 2 else f"203.0.113.{number % 250}"
    return f"deny group{number % GROUPS} -> {to} : tcp/{1000 + number}, udp/{number + 1}"


def policy(interface: str, members: tuple[Member, ...]) -> Policy:
    """Return the policy."""
    settings = PolicySettings(
        groups=[f"group{number}" for number in range(GROUPS)],
        rules=[rule(number) for number in range(RULES)],
    )
    return Policy(interface, SERVER, ("lan",), settings, members)


def main() -> None:
    """Apply it."""
    interface, *addresses = sys.argv[1:]
    first = member(1, *map(ip_address, addresses))
    members = (first, *(member(number) for number in range(2, PEERS + 2)))
    seconds = []
    firewall = Firewall(interface)
    for some in (members[:PEERS], members):
        start = time.perf_counter()
        firewall.apply(policy(interface, some))
        seconds.append(time.perf_counter() - start)
    print(*seconds)


if __name__ == "__main__":
    main()
