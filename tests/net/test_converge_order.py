"""In which order a reconciler takes away, changes the firewall, and gives."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from harness import interface_name
from harness.peer import make_peer
from net.host import Host
from wgbind import _native
from wgbind.errors import FirewallError
from wgbind.firewall.apply import Firewall
from wgbind.keys import PrivateKey
from wgbind.server.reconciler import Desired, Reconciler
from wgbind.settings.model import ServerSettings
from wgbind.settings.paths import Paths
from wgbind.store.peer import Peer


class RecordingDevice:
    """A device that notes what it is told."""

    def __init__(self, device: _native.Device, told: list[str]) -> None:
        self._device = device
        self._told = told

    def set(self, **changes: Any) -> None:
        self._told.extend(changes)
        self._device.set(**changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


class Server:
    """A reconciler with a real device on a host of its own.

    Attributes:
        told: What device and firewall were told since this was emptied: names of the arguments of
            `Device.set`, and "firewall".
        firewall_changes: What is called before the firewall changes.
    """

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.told: list[str] = []
        self.firewall_changes: Callable[[], object] = lambda: None
        self.key = PrivateKey.generate()
        self.device = host.call(_native.Device, interface_name(), control_socket=False)
        name = self.device.name
        paths = Paths(name, config_dir=folder, state_dir=folder, run_dir=folder)
        recording: Any = RecordingDevice(self.device, self.told)
        self.reconciler = host.call(Reconciler, recording, paths)

    def apply(self, policy: dict[str, Any], *peers: Peer) -> list[str]:
        """Apply settings and peers; return what device and firewall were told."""
        settings = ServerSettings.model_validate(
            {
                "interface": {"addresses": ["10.0.0.1/24", "fd00::1/64"], "listen_port": 0},
                "policy": {"groups": ["staff"], **policy},
            }
        )
        self.told.clear()
        self.host.call(self.reconciler.apply, Desired(settings, self.key, peers))
        return list(self.told)


@pytest.fixture
def server(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server(host, tmp_path)
    apply: Callable[..., bool] = Firewall.apply

    def note(*arguments: Any) -> bool:
        made.told.append("firewall")
        made.firewall_changes()
        return apply(*arguments)

    monkeypatch.setattr(Firewall, "apply", note)
    with ExitStack() as stack:
        stack.callback(host.call, made.reconciler.release)
        stack.callback(made.device.close)
        yield made


STAFF = {"rules": ["allow staff -> staff"]}
NOBODY: dict[str, Any] = {}


def test_all_is_given_after_the_firewall_changed(server: Server) -> None:
    a, b, c = make_peer(2, "staff"), make_peer(3, "staff"), make_peer(4, "staff")
    assert server.apply(STAFF, a, b) == ["private_key", "firewall", "peers", "hub"]
    assert server.apply(STAFF, a, b) == ["firewall"]
    assert server.apply(STAFF, a, b, c) == ["firewall", "peers", "hub"]


def test_all_is_taken_before_the_firewall_changes(server: Server) -> None:
    a, b, c = make_peer(2, "staff"), make_peer(3, "staff"), make_peer(4, "staff")
    server.apply(STAFF, a, b, c)
    assert server.apply(STAFF, a, b) == ["hub", "peers", "firewall"]
    assert server.apply(STAFF, a, replace(b, groups=frozenset())) == ["hub", "firewall"]
    assert server.apply(STAFF, a, b) == ["firewall", "hub"]
    assert server.apply(NOBODY, a, b) == ["hub", "firewall"]


def test_an_address_that_changes_hands_is_nobodys_while_the_firewall_changes(
    server: Server,
) -> None:
    a, b = make_peer(2, "staff"), make_peer(3, "staff")
    server.apply(STAFF, a, b)
    swapped = replace(a, addresses=b.addresses), replace(b, addresses=a.addresses)
    assert server.apply(STAFF, *swapped) == ["peers", "firewall", "peers"]
    held = {each.public_key: each.allowed_ips for each in server.device.status().peers}
    assert held == {
        each.public_key: [str(network) for network in each.allowed_ips] for each in swapped
    }


def test_what_is_within_anothers_network_is_nobodys_while_the_firewall_changes(
    server: Server,
) -> None:
    """That has but the rest of its network then, whose packets all go on."""
    site = replace(make_peer(2, "staff"), routed_networks=(ip_network("10.9.0.0/30"),))
    phone = replace(make_peer(3), routed_networks=(ip_network("10.9.0.1/32"),))

    def held() -> set[str]:
        found = {each.public_key: each.allowed_ips for each in server.device.status().peers}
        return set(found[site.public_key]) - {"10.0.0.2/32", "fd00::2/128"}

    between: list[set[str]] = []
    server.apply(STAFF, site)
    server.firewall_changes = lambda: between.append(held())
    for peers in ((site, phone), (site,)):
        assert server.apply(STAFF, *peers) == ["peers", "firewall", "peers"]
        assert held() == {"10.9.0.0/30"}
    assert between == [{"10.9.0.0/32", "10.9.0.2/31"}] * 2


def test_a_firewall_that_fails_leaves_less_open(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = make_peer(2, "staff"), make_peer(3, "staff"), make_peer(4, "staff")
    server.apply(STAFF, a, b)

    def fail(*_arguments: Any) -> bool:
        raise FirewallError("nftables: the kernel refuses it")

    with monkeypatch.context() as context:
        context.setattr(Firewall, "apply", fail)
        with pytest.raises(FirewallError):
            server.apply(STAFF, b, c)
    assert server.told == ["hub", "peers"]
    assert [each.public_key for each in server.device.status().peers] == [b.public_key]
    assert server.apply(STAFF, b, c) == ["firewall", "peers", "hub"]
