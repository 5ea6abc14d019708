"""apply, remove and current on a real kernel."""

import json
import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from net.host import Host
from net.tunnel import ADDRESSES, neighbour
from wgbind.errors import FirewallError
from wgbind.firewall import apply as apply_module
from wgbind.firewall.apply import Counter, apply, current, remove
from wgbind.firewall.ruleset import COUNTERS, Json, Ruleset, table_name

RULESET = Ruleset("wg0", ADDRESSES, egress=("eth0",))

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


def tables(host: Host) -> list[str]:
    listing = json.loads(host.run(["nft", "-j", "list", "tables"]).stdout)["nftables"]
    return [f"{each['table']['family']} {each['table']['name']}" for each in listing[1:]]


def listing(host: Host) -> str:
    return host.run(["nft", "-a", "list", "ruleset"]).stdout


def test_apply_and_remove(host: Host) -> None:
    assert host.call(current, "wg0") is None
    assert host.call(apply, RULESET) is True
    assert host.call(current, "wg0") == dict.fromkeys(COUNTERS, Counter(0, 0))
    assert tables(host) == ["inet wgbind_wg0"]
    assert host.call(remove, "wg0") is True
    assert host.call(remove, "wg0") is False
    assert tables(host) == []


def test_apply_again_changes_nothing(host: Host) -> None:
    host.call(apply, RULESET)
    before = listing(host)  # with handles, which the kernel never gives twice
    assert host.call(apply, RULESET) is False
    assert listing(host) == before


NETWORKS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 0xFFFF), st.integers(16, 32)).map(
            lambda pair: ip_network((0x0A000000 + pair[0], pair[1]), strict=False)
        ),
        st.tuples(st.integers(0, 0xFFFF), st.integers(112, 128)).map(
            lambda pair: ip_network(((0xFD << 120) + pair[0], pair[1]), strict=False)
        ),
        st.sampled_from([ip_network("0.0.0.0/0"), ip_network("0.0.0.0/1"), ip_network("::/0")]),
    ),
    max_size=8,
)
RULESETS = st.builds(
    Ruleset,
    interface=st.sampled_from(["wg0", "wg+=.-_", "123", "-", "inet"]),
    addresses=st.sampled_from(
        [ADDRESSES, ADDRESSES[:1], ADDRESSES[1:], (*ADDRESSES, ip_interface("9.1.1.1/32"))]
    ),
    routed_networks=NETWORKS.map(tuple),
    gateway=st.booleans(),
    egress=st.one_of(
        st.sampled_from([None, (), ("eth0",), ("1+1",), ("eth0", "eth0")]),
        st.permutations(["wlan0", "eth0.12", "br-1", "eth0"]).map(tuple),
    ),
    peer_to_peer=st.booleans(),
    host=st.booleans(),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(RULESETS)
def test_any_ruleset_is_read_back_as_it_was_applied(host: Host, ruleset: Ruleset) -> None:
    host.call(apply, ruleset)
    assert host.call(apply, ruleset) is False


def test_a_change_keeps_chains_and_counters(host: Host) -> None:
    host.link("wg0")
    host.call(apply, RULESET)
    chains = [line for line in listing(host).splitlines() if "chain " in line]
    # A packet to count: from the tunnel, with a source that no peer has.
    host.ip("address", "add", "192.0.2.1/24", "dev", "wg0-end")
    neighbour(host, "192.0.2.9", host.mac("wg0"), "wg0-end")
    host.run(["ping", "-c1", "-W1", "192.0.2.9"], check=False)
    counters = host.call(current, "wg0")
    assert counters is not None
    assert counters["spoofed"].packets > 0
    assert host.call(apply, replace(RULESET, host=False, peer_to_peer=False)) is True
    after = host.call(current, "wg0")
    assert after is not None
    assert after["spoofed"].packets >= counters["spoofed"].packets
    assert [line for line in listing(host).splitlines() if "chain " in line] == chains


def test_tables_of_others_are_left_alone(host: Host) -> None:
    host.run(["nft", "-f", "-"], text=FOREIGN)
    before, names = listing(host), tables(host)
    host.call(apply, RULESET)
    host.call(apply, replace(RULESET, gateway=False))
    host.call(remove, "wg0")
    host.call(remove, "nat")
    assert listing(host) == before
    assert tables(host) == names


def test_servers_have_a_table_each(host: Host) -> None:
    names = ["wg0", "wg1", "w=g", "w+g", "w.g", "w-g", "w_g", "123", "A-=+._9012345xy"]
    for name in names:
        host.call(apply, replace(RULESET, interface=name))
    assert tables(host) == [f"inet {table_name(name)}" for name in names]
    for name in names:
        # What an administrator would type.
        assert f'"{name}"' in host.run(["nft", "list", "table", "inet", table_name(name)]).stdout
    for name in names[1:]:
        host.call(remove, name)
    assert tables(host) == ["inet wgbind_wg0"]
    assert host.call(apply, RULESET) is False


@pytest.mark.parametrize(
    "tampering",
    [
        "flush ruleset",
        "flush table inet wgbind_wg0",
        "flush chain inet wgbind_wg0 forward",
        "insert rule inet wgbind_wg0 from_tunnel accept",
        "add chain inet wgbind_wg0 another",
        "add set inet wgbind_wg0 another { type ipv4_addr; }",
        "delete table inet wgbind_wg0; add table inet wgbind_wg0; "
        "add chain inet wgbind_wg0 forward { type filter hook forward priority 10; }",
        "delete table inet wgbind_wg0; add table inet wgbind_wg0; "
        "add chain inet wgbind_wg0 old { type nat hook prerouting priority -100; }; "
        "add set inet wgbind_wg0 peers { type ipv4_addr; }",
    ],
)
def test_whatever_became_of_the_table_is_put_right(host: Host, tampering: str) -> None:
    host.call(apply, RULESET)
    right = without_handles(host)
    host.run(["nft", tampering])
    assert host.call(apply, RULESET) is True
    assert without_handles(host) == right
    assert host.call(apply, RULESET) is False


def without_handles(host: Host) -> str:
    return host.run(["nft", "list", "ruleset"]).stdout


def test_all_or_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.call(apply, RULESET)
    before = listing(host)
    bad = {"rule": {"family": "inet", "table": "wgbind_wg0", "chain": "none", "expr": []}}
    monkeypatch.setattr(Ruleset, "rules", lambda _: [bad])
    with pytest.raises(FirewallError, match="nftables: ") as raised:
        host.call(apply, RULESET)
    assert "\n" not in str(raised.value)
    assert listing(host) == before


@pytest.mark.parametrize("interference", ["delete table", "flush chain forward"])
def test_a_kernel_that_has_something_else(
    host: Host, monkeypatch: pytest.MonkeyPatch, interference: str
) -> None:
    def run_and_interfere(commands: list[Json]) -> None:
        run(commands)
        verb, kind, *chain = interference.split()
        subprocess.run(["nft", verb, kind, "inet", "wgbind_wg0", *chain], check=True)

    run = apply_module._nft
    monkeypatch.setattr(apply_module, "_nft", run_and_interfere)
    with pytest.raises(FirewallError, match="table inet wgbind_wg0 is not what was applied"):
        host.call(apply, RULESET)


def test_without_nft(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(apply_module, "SYSTEM_PATH", str(tmp_path))
    for function in (current, remove):
        with pytest.raises(FirewallError, match="apt install nftables"):
            host.call(function, "wg0")
    with pytest.raises(FirewallError, match="apt install nftables"):
        host.call(apply, RULESET)


def test_path_of_a_daemon(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert host.call(apply, RULESET) is True


def test_without_the_right(host: Host) -> None:
    program = (
        "from ipaddress import ip_interface\n"
        "from wgbind.errors import PrivilegeError\n"
        "from wgbind.firewall.apply import apply\n"
        "from wgbind.firewall.ruleset import Ruleset\n"
        "try: apply(Ruleset('wg0', (ip_interface('10.77.0.1/24'),)))\n"
        "except PrivilegeError as error: print(error)\n"
    )
    drop = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    output = host.run([*drop, sys.executable, "-c", program]).stdout
    assert output == "nftables: needs CAP_NET_ADMIN; run it as root\n"
    assert tables(host) == []
