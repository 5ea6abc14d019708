"""apply, remove and current on a real kernel."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_interface, ip_network
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from net.host import Host
from net.policies import PEERS, Peer, policy
from net.tunnel import ADDRESSES, neighbour
from wgbind.errors import FirewallError
from wgbind.firewall.apply import Firewall, current, remove
from wgbind.firewall.compile import table_name
from wgbind.firewall.frame import REASONS
from wgbind.firewall.listing import Counter
from wgbind.firewall.nftables import Kind, Message, NfTables
from wgbind.firewall.policy import Policy

POLICY = policy("wg0", egress=("eth0",))
RULES = ["deny guests -> host : ping log", "allow staff -> host : ssh, tcp/8000-8100, udp/53"]

FOREIGN = """
table inet wgbind_other {
    chain input { type filter hook input priority 0; tcp dport 22 counter accept; }
}
table ip nat {
    set blocked { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 } }
    chain POSTROUTING { type nat hook postrouting priority 100; oifname "docker0" masquerade; }
}
table ip6 wgbind_wg0 { }
"""


@contextmanager
def firewall(host: Host, interface: str = "wg0") -> Iterator[Firewall]:
    """The firewall of a running server in a namespace."""
    with host.call(Firewall, interface) as found:
        yield found


def enforce(host: Host, wanted: Policy) -> None:
    """Apply a policy as a server does that has just started."""
    with firewall(host, wanted.interface) as starting:
        assert starting.apply(wanted) is True


def tables(host: Host) -> list[str]:
    listing = json.loads(host.run(["nft", "-j", "list", "tables"]).stdout)["nftables"]
    return [f"{each['table']['family']} {each['table']['name']}" for each in listing[1:]]


def listing(host: Host) -> str:
    """The ruleset with handles, which the kernel never gives twice."""
    return host.run(["nft", "-sa", "list", "ruleset"]).stdout


def objects(host: Host) -> list[str]:
    """The ruleset without handles and in no order."""
    return sorted(host.run(["nft", "-s", "list", "ruleset"]).stdout.splitlines())


def disturb(host: Host) -> None:
    """Have somebody else change something."""
    host.run(["nft", "add table ip others; delete table ip others"])


def test_apply_and_remove(host: Host) -> None:
    assert host.call(current, "wg0") is None
    with firewall(host) as running:
        assert running.apply(POLICY) is True
    counters = host.call(current, "wg0")
    assert counters is not None
    assert counters.refused == dict.fromkeys(REASONS, 0)
    assert [counters.of(rule) for rule in POLICY.rules] == [Counter(0, 0)] * len(POLICY.rules)
    assert tables(host) == ["inet wgbind_wg0"]
    assert host.call(remove, "wg0") is True
    assert host.call(remove, "wg0") is False
    assert tables(host) == []


def test_apply_again_changes_nothing(host: Host) -> None:
    with firewall(host) as running:
        running.apply(POLICY)
        before = listing(host)
        assert running.apply(POLICY) is False
        disturb(host)
        assert running.apply(POLICY) is False
    assert listing(host) == before


NETWORKS = st.one_of(
    st.tuples(st.integers(0, 0xFFFF), st.integers(16, 32)).map(
        lambda pair: ip_network((0x0A000000 + pair[0], pair[1]), strict=False)
    ),
    st.tuples(st.integers(0, 0xFFFF), st.integers(112, 128)).map(
        lambda pair: ip_network(((0xFD << 120) + pair[0], pair[1]), strict=False)
    ),
    st.sampled_from([ip_network("0.0.0.0/0"), ip_network("0.0.0.0/1"), ip_network("::/0")]),
)


@st.composite
def members(draw: st.DrawFn) -> tuple[Peer, ...]:
    networks = draw(st.lists(NETWORKS, max_size=6, unique=True))
    numbers = draw(st.lists(st.integers(2, 9), max_size=6, unique=True))
    return tuple(
        Peer.of(
            f"peer+{number}@home",
            draw(st.sampled_from(["", "staff", "guests", "staff guests"])),
            f"10.77.0.{number}",
            *([f"fd77::{number}"] if draw(st.booleans()) else []),
            *map(str, networks[index::6]),
        )
        for index, number in enumerate(numbers)
    )


WORDS = ["any", "peers", "staff", "guests", "peer:peer+3@home", "10.77.0.0/30", "fd77::2"]
OUTSIDE = ["lan", "dmz", "internet", "host", "192.0.2.0/24"]
SERVICES = ["", " : tcp/22, tcp/80-90, udp/53", " : icmp", " : ping", " : tcp, udp/9"]
POLICIES = st.builds(
    policy,
    interface=st.just("wg+=.-_"),
    addresses=st.sampled_from(
        [ADDRESSES, ADDRESSES[:1], ADDRESSES[1:], (*ADDRESSES, ip_interface("9.1.1.1/32"))]
    ),
    egress=st.one_of(
        st.sampled_from([None, (), ("eth0",), ("1+1",), ("eth0", "eth0")]),
        st.permutations(["wlan0", "eth0.12", "br-1", "eth0"]).map(tuple),
    ),
    members=members(),
    preset=st.sampled_from(["gateway", ["gateway", "hub"], "isolated", "site"]),
    networks=st.just(
        {"lan": ["192.168.7.0/24", "fd07::/64"], "dmz": {"prefixes": ["192.168.8.0/24"]}}
        | {"far": {"prefixes": ["fd08::/64"], "nat": False, "interface": "eth9"}}
    ),
    rules=st.lists(
        st.builds(
            "{} {} -> {}{}{}".format,
            st.sampled_from(["allow", "deny"]),
            st.sampled_from(WORDS),
            st.sampled_from(["any", "peers", "staff, guests", *OUTSIDE]),
            st.sampled_from(SERVICES),
            st.sampled_from(["", " log"]),
        ).filter(lambda rule: not ("fd77" in rule and "192.0.2" in rule)),
        max_size=6,
    ),
    forwards=st.sampled_from([[], ["tcp/80 -> peer:peer+3@home : 8080", "udp/1-9 -> 10.0.0.1"]]),
    connection_limit=st.sampled_from([None, 5, 50]),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(POLICIES, min_size=1, max_size=4))
def test_any_policy_is_read_back_as_it_was_applied(host: Host, policies: list[Policy]) -> None:
    """Whatever stood before it: the kernel has what would be there after a start."""
    interface = policies[0].interface
    with firewall(host, interface) as running:
        for each in policies:
            running.apply(each)
            disturb(host)
            assert running.apply(each) is False
    changed = content(host)
    host.call(remove, interface)
    enforce(host, policies[-1])
    assert content(host) == changed
    host.call(remove, interface)


def content(host: Host) -> list[str]:
    """What a table holds, whatever its sets and chains are called."""
    lines = [line.replace("/4.1", "/4").replace("/6.1", "/6") for line in objects(host)]
    return sorted(line for line in lines if "jump" not in line and "chain" not in line)


def test_a_change_keeps_chains_and_counters(host: Host) -> None:
    host.link("wg0")
    # A packet to count: from the tunnel, with a source that no peer has.
    host.ip("address", "add", "192.0.2.1/24", "dev", "wg0-end")
    neighbour(host, "192.0.2.9", host.mac("wg0"), "wg0-end")
    with firewall(host) as running:
        running.apply(POLICY)
        chains = base_chains(host)
        host.run(["ping", "-c1", "-W1", "192.0.2.9"], check=False)
        counters = host.call(current, "wg0")
        assert counters is not None
        assert counters.refused["spoofed"] > 0
        assert running.apply(policy("wg0", preset="hub", rules=RULES)) is True
    assert base_chains(host) == chains
    enforce(host, POLICY)
    assert base_chains(host) == chains
    after = host.call(current, "wg0")
    assert after is not None
    assert after.refused["spoofed"] >= counters.refused["spoofed"]


def base_chains(host: Host) -> list[str]:
    lines = listing(host).splitlines()
    return [line for line, next_line in pairwise(lines) if "hook" in next_line]


def test_a_peer_is_elements_of_sets(host: Host) -> None:
    """One that comes or goes changes no rule and no set that it is not in."""
    wanted = policy("wg0", rules=RULES, members=PEERS[:1])
    grown = policy("wg0", rules=RULES)
    with firewall(host) as running:
        running.apply(wanted)
        before = listing(host)
        assert running.apply(grown) is True
        assert difference(before, listing(host)) == {"elements = { 10.77.0.3 }"} | {
            "elements = { fd77::3 }"
        }
        assert running.apply(wanted) is True
    assert listing(host) == before


def difference(before: str, after: str) -> set[str]:
    return {line.strip() for line in set(after.splitlines()) - set(before.splitlines())}


def test_a_peer_that_changes_groups_changes_no_set_that_rules_look_at(host: Host) -> None:
    with firewall(host) as running:
        running.apply(policy("wg0", rules=RULES))
        handles = set_handles(host)
        moved = (PEERS[0], Peer("b", frozenset({"staff"}), PEERS[1].addresses))
        running.apply(policy("wg0", rules=RULES, members=moved))
    kept = set_handles(host) & handles
    assert not any("staff" in each or "guests" in each for each in kept)
    assert any("sources" in each for each in kept)


def set_handles(host: Host) -> set[str]:
    return {line.strip() for line in listing(host).splitlines() if line.startswith("\tset ")}


def test_tables_of_others_are_left_alone(host: Host) -> None:
    host.run(["nft", "-f", "-"], text=FOREIGN)
    before, names = listing(host), tables(host)
    with firewall(host) as running:
        running.apply(POLICY)
        running.apply(policy("wg0", preset="hub", rules=RULES))
    host.call(remove, "wg0")
    host.call(remove, "nat")
    assert listing(host) == before
    assert tables(host) == names


def test_servers_have_a_table_each(host: Host) -> None:
    names = ["wg0", "wg1", "w=g", "w+g", "w.g", "w-g", "w_g", "123", "A-=+._9012345xy"]
    for name in names:
        enforce(host, policy(name))
    assert tables(host) == [f"inet {table_name(name)}" for name in names]
    for name in names:
        # What an administrator would type.
        assert f'"{name}"' in host.run(["nft", "list", "table", "inet", table_name(name)]).stdout
    for name in names[1:]:
        host.call(remove, name)
    assert tables(host) == ["inet wgbind_wg0"]


def test_nft_reads_what_it_lists(host: Host) -> None:
    """An administrator can keep a copy, and put it back."""
    enforce(host, policy("wg+", rules=RULES, egress=("eth0", "eth1"), connection_limit=5))
    copy = host.run(["nft", "-s", "list", "ruleset"]).stdout
    host.run(["nft", "flush", "ruleset"])
    host.run(["nft", "-f", "-"], text=copy)
    assert host.run(["nft", "-s", "list", "ruleset"]).stdout == copy


@pytest.mark.parametrize(
    "tampering",
    [
        "flush ruleset",
        "flush table inet wgbind_wg0",
        "flush chain inet wgbind_wg0 forward",
        "insert rule inet wgbind_wg0 forward accept",
        "add chain inet wgbind_wg0 another",
        "add set inet wgbind_wg0 another { type ipv4_addr; }",
        "add element inet wgbind_wg0 staff/4 { 10.77.0.3 }",
        "delete element inet wgbind_wg0 staff/4 { 10.77.0.2 }",
        "add counter inet wgbind_wg0 another",
        "add chain inet wgbind_wg0 forward { policy drop; }",
        "delete table inet wgbind_wg0; add table inet wgbind_wg0; "
        "add chain inet wgbind_wg0 forward { type filter hook forward priority 10; }",
        "delete table inet wgbind_wg0; add table inet wgbind_wg0; "
        "add chain inet wgbind_wg0 old { type nat hook prerouting priority -100; }; "
        "add set inet wgbind_wg0 peers { type ipv4_addr; }",
        "add map inet wgbind_wg0 another { type ipv4_addr : verdict; }; "
        "add chain inet wgbind_wg0 there; "
        "add element inet wgbind_wg0 another { 10.77.0.2 : jump there }; "
        "insert rule inet wgbind_wg0 forward ip saddr vmap @another",
    ],
)
@pytest.mark.parametrize("restarted", [False, True])
def test_whatever_became_of_the_table_is_put_right(
    host: Host, tampering: str, restarted: bool
) -> None:
    wanted = policy("wg0", rules=RULES)
    with firewall(host) as running, firewall(host) as other:
        running.apply(wanted)
        right = objects(host)
        host.run(["nft", tampering])
        assert (other if restarted else running).apply(wanted) is True
        assert objects(host) == right
        assert (other if restarted else running).apply(wanted) is False


def test_all_or_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses the last step of a transaction."""

    def commit(kernel: NfTables, messages: Iterable[Message], generation: int = 0) -> None:
        real(kernel, [*messages, Message(Kind.DELETE_CHAIN, 0, b"")], generation)

    with firewall(host) as running:
        running.apply(POLICY)
        before = listing(host)
        with monkeypatch.context() as patch:
            real = NfTables.commit
            patch.setattr(NfTables, "commit", commit)
            with pytest.raises(FirewallError, match="refuses delete chain") as raised:
                running.apply(policy("wg0", rules=RULES))
        assert "\n" not in str(raised.value)
        assert listing(host) == before
        assert running.apply(POLICY) is False
        assert running.apply(policy("wg0", rules=RULES)) is True


@pytest.mark.parametrize("times", [1, 1000])
def test_others_change_their_rules_at_the_same_time(
    host: Host, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """What was read is out of date when the transaction comes to the kernel: it is void."""

    def commit(kernel: NfTables, messages: Iterable[Message], generation: int = 0) -> None:
        nonlocal times
        times -= 1
        if times >= 0:
            host.run(["nft", "flush chain inet wgbind_wg0 forward"])
            disturb(host)  # to flush an empty chain is no change
        real(kernel, messages, generation)

    with firewall(host) as running:
        running.apply(POLICY)
        real = NfTables.commit
        monkeypatch.setattr(NfTables, "commit", commit)
        if times > 1:
            with pytest.raises(FirewallError, match="another program"):
                running.apply(policy("wg0", rules=RULES))
            return
        running.apply(policy("wg0", rules=RULES))
    changed = content(host)
    host.call(remove, "wg0")
    enforce(host, policy("wg0", rules=RULES))
    assert content(host) == changed


def test_without_the_right(host: Host) -> None:
    program = (
        "from wgbind.errors import PrivilegeError\n"
        "from wgbind.firewall.apply import Firewall, current\n"
        "from wgbind.firewall.policy import Policy\n"
        "from wgbind.settings.policy import PolicySettings\n"
        "policy = Policy('wg0', (), None, PolicySettings())\n"
        "for ask in (lambda: Firewall('wg0').apply(policy), lambda: current('wg0')):\n"
        "    try: ask()\n"
        "    except PrivilegeError as error: print(error)\n"
    )
    drop = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    output = host.run([*drop, sys.executable, "-c", program]).stdout
    assert output == "nftables: needs CAP_NET_ADMIN; run it as root\n" * 2
    assert tables(host) == []
