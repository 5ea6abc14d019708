"""Rules of policy routing: each server's own, found again, and gone with it."""

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path

from net.host import Host
from wgbind.net.rule import Block, Rule, add_rules, claim_block, find_block, release_block
from wgbind.net.rule import remove_rules as remove

RULES = [
    Rule(4, 1, source=ip_network("198.18.0.7/32"), specific=True),
    Rule(4, 2, 5000, source=ip_network("198.18.0.0/28")),
    Rule(4, 3, interface="lo"),
    Rule(4, 4, mark=(0x5747, 0xFFFFFFFF)),
    Rule(4, 5, 5001, interface="wg7", mark=(0x1000000, 0xFF000000)),
    Rule(6, 1, interface="wg7", specific=True),
    Rule(6, 5, 5001, interface="wg7", mark=(0x1000000, 0xFF000000)),
    Rule(6, 6, 5002, source=ip_network("fd07::/64"), interface="eth7"),
]


def listed(host: Host) -> list[str]:
    return host.ip("rule").splitlines() + host.ip("-6", "rule").splitlines()


def test_rules_are_found_as_they_were_added(host: Host, tmp_path: Path) -> None:
    before = listed(host)
    block = host.call(claim_block, "wg7", tmp_path)
    assert len(host.call(add_rules, block, RULES)) == len(RULES)
    assert host.call(add_rules, block, RULES) == []
    assert len(listed(host)) == len(before) + len(RULES) + 1
    assert f"{block.priority(6)}:\tfrom fd07::/64 iif eth7 [detached] lookup 5002 proto 87" in (
        line.strip() for line in listed(host)
    )
    assert len(host.call(remove, block, RULES[2:])) == 2
    assert host.call(remove, block, RULES[2:]) == []
    assert host.call(find_block, "wg7") == block
    assert host.call(release_block, "wg7")
    assert not host.call(release_block, "wg7")
    assert listed(host) == before


def test_servers_have_blocks_of_their_own_and_rules_of_others_stay(
    host: Host, tmp_path: Path
) -> None:
    host.ip("rule", "add", "from", "10.0.0.0/8", "lookup", "main", "priority", "10001")
    before = listed(host)
    one, two = (host.call(claim_block, name, tmp_path) for name in ("wg7", "wg8"))
    assert (one, two) == (Block(0), Block(1))
    assert host.call(claim_block, "wg7", tmp_path) == one
    for block in (one, two):
        host.call(add_rules, block, RULES)
    with_two = listed(host)
    host.call(release_block, "wg7")
    assert len(listed(host)) == len(with_two) - len(RULES) - 1
    assert host.call(claim_block, "wg9", tmp_path) == one
    for name in ("wg8", "wg9"):
        host.call(release_block, name)
    assert listed(host) == before


def test_servers_that_start_at_once_take_different_blocks(host: Host, tmp_path: Path) -> None:
    def claim_all() -> set[Block]:
        with ThreadPoolExecutor(8) as executor:
            names = [f"wg{number}" for number in range(16)]
            return set(executor.map(lambda name: claim_block(name, tmp_path), names))

    assert len(host.call(claim_all)) == 16
