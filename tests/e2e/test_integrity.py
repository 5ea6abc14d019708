"""What goes through a tunnel comes out whole and once, whatever kernel and network do."""

from collections.abc import Iterator

import pytest

from harness import (
    PORT,
    End,
    Namespace,
    Received,
    Relay,
    assert_whole,
    exchange,
    old_kernel,
    ping,
    tunnel,
)
from wgbind.settings.device import DeviceSettings

FEATURES = [name for name in DeviceSettings.model_fields if name != "workers"]
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "all on": {},
    **{f"no {name}": {"WGBIND_WITHOUT": name} for name in FEATURES},
    "all off": {"WGBIND_WITHOUT": ",".join(FEATURES)},
    "two workers": {"WGBIND_WORKERS": "2"},
}
RELAY_PORT = 51821
DATAGRAMS = 2000


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def env(request: pytest.FixtureRequest) -> dict[str, str]:
    """What the programs of ours are to do without."""
    return ENVIRONMENTS[request.param]


@pytest.fixture(scope="module", params=["wgbind-device", "wireguard-go"])
def ends(request: pytest.FixtureRequest, env: dict[str, str]) -> Iterator[tuple[End, End]]:
    """A client of either program and a server of ours."""
    with tunnel(request.param, "wgbind-device", env=env) as ends:
        yield ends


def test_all_arrives_whole(ends: tuple[End, End]) -> None:
    assert_whole(swap(ends), DATAGRAMS)


def test_all_arrives_whole_over_a_bad_network(ends: tuple[End, End]) -> None:
    one, two = ends
    (uplink,) = two.namespace.ip_json("-4", "address", "show", "dev", "uplink")
    relay = Relay(one.namespace, RELAY_PORT, (uplink["addr_info"][0]["local"], PORT), seed=7)
    networks = (f"{two.inner.ipv4}/32", f"{two.inner.ipv6}/128")
    one.add_peer(two.public_key(), *networks, endpoint=f"127.0.0.1:{RELAY_PORT}")
    # From now on the other end answers by this way, too: its keepalive would lead back to the old.
    assert ping(one.namespace, two.inner.ipv4, count=1).received
    received = swap(ends, size=2 << 20)
    counts = relay.stop()
    assert min(counts.values()) > 50, counts
    assert_whole(received, DATAGRAMS)


@pytest.mark.parametrize("feature", [*FEATURES, "steering"])
def test_all_arrives_whole_on_a_kernel_without(feature: str) -> None:
    with tunnel("wgbind-device", "wgbind-device", before=old_kernel(feature)) as ends:
        assert_whole(swap(ends), DATAGRAMS)


def test_all_arrives_whole_over_ipv6_whose_mtu_shrinks() -> None:
    """The kernel cuts no train into fragments (EMSGSIZE), but single datagrams it does."""
    with tunnel("wgbind-device", "wgbind-device", outer="ipv6") as ends:
        assert_whole(swap(ends), DATAGRAMS)
        few = fragments(ends[0].namespace)  # of what did not fit into the tunnel
        for end in ends:
            end.namespace.ip("link", "set", "uplink", "mtu", "1280")
        assert_whole(swap(ends), DATAGRAMS)
        assert fragments(ends[0].namespace) > few + 10_000


def swap(ends: tuple[End, End], *, size: int = 8 << 20) -> list[Received]:
    """Let both ends send each other all that there is, over IPv4 and IPv6."""
    one, two = ends
    addresses = (two.inner.ipv4, two.inner.ipv6)
    return exchange(one.namespace, two.namespace, addresses, size=size, datagrams=DATAGRAMS)


def fragments(namespace: Namespace) -> int:
    """Return how many fragments of datagrams the host has sent over IPv6."""
    lines = namespace.run(["cat", "/proc/net/snmp6"]).stdout.splitlines()
    return int(dict(line.split() for line in lines)["Ip6FragCreates"])
