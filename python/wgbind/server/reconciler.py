"""From what should be (settings and store) to what is, by the smallest change."""

from __future__ import annotations

import logging
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from wgbind import _native
from wgbind._native import PeerChange
from wgbind.errors import WgbindError
from wgbind.firewall import apply as firewall
from wgbind.firewall.apply import Firewall
from wgbind.firewall.hub import Hub, hub_classes, narrow
from wgbind.net.forwarding import enable_forwarding, restore_forwarding
from wgbind.net.host import host_view
from wgbind.net.interface import converge_interface
from wgbind.net.rule import release_block
from wgbind.server.endpoint_names import EndpointResolver, Name, is_name
from wgbind.server.peer_edit import peer_edits
from wgbind.server.policy import resolve
from wgbind.server.routing import apply_routing, change_routing
from wgbind.server.routing_plan import needs_rules
from wgbind.server.surroundings import Surroundings
from wgbind.settings.prefixes import Nest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

    from wgbind._native import Device, PeerStatus
    from wgbind.firewall.policy import Policy
    from wgbind.keys import PrivateKey, PublicKey
    from wgbind.net.host import HostView
    from wgbind.server.peer_edit import PeerEdit, PeerEdits
    from wgbind.settings.model import ServerSettings
    from wgbind.settings.paths import Paths
    from wgbind.store.peer import Peer

    Leaving: TypeAlias = Callable[[Collection[PublicKey]], AbstractContextManager[None]]

_log = logging.getLogger(__name__)


class _DeviceEdit(TypedDict, total=False):
    private_key: PrivateKey
    listen_port: int
    fwmark: int


@dataclass(frozen=True)
class Desired:
    """What should be."""

    settings: ServerSettings
    private_key: PrivateKey
    peers: Sequence[Peer]


class Overtaken(Exception):  # noqa: N818  no error: what should be is to be asked anew
    """Others changed the device since it was asked what should be; nothing of it was given."""


class Reconciler:
    """Applies what should be to one device and its host, step by step.

    At no moment is a packet forwarded that the rules would drop. So first all is taken away that
    is to go: the short ways between peers that the new policy closes, and the addresses that peers
    shall no longer have. Then the firewall changes, in one transaction, and then the rest is given:
    addresses, whose first packet meets the new rules, and short ways. A step that fails leaves
    less open than there was. When a server starts, the firewall stands before forwarding is
    switched on, and the link goes up after both.

    Args:
        device: A device that this process owns.
        paths: Files of its server.
        leaving: Peers leave the device within what it returns.
        is_overtaken: Asked whether others changed the device since what should be was computed. A
            peer that they took away meanwhile would come back, for it is missing.
    """

    def __init__(
        self,
        device: Device,
        paths: Paths,
        leaving: Leaving = lambda _: nullcontext(),
        is_overtaken: Callable[[], bool] = lambda: False,
    ) -> None:
        self._device = device
        self._paths = paths
        self._firewall = Firewall(paths.name)
        self._hub = Hub()
        self._names = EndpointResolver(device)
        self._leaving = leaving
        self._is_overtaken = is_overtaken
        self._touched_host = False
        # What the last call left: whether it came to its end, what it gave the device, who is there
        # beside that, how many changes the device had seen, what the host was like when all was
        # looked at, and what could not be done.
        self._settled = False
        self._peers: dict[PublicKey, Peer] = {}
        self._strangers: set[PublicKey] = set()
        self._changes = 0
        self._host: HostView
        self._unrouted: list[str] = []

    def apply(self, desired: Desired) -> list[str]:
        """Apply what differs.

        Returns what is left undone without harm to the rest: a network behind a peer that is routed
        elsewhere. Endpoints that are names are set beside it, see `problems`. Raises the
        `WgbindError` of the first step that failed; the later ones, which build on it, are not
        tried. Raises `Overtaken`.
        """
        self._settled = False
        self.configure(desired.settings, desired.private_key)
        self._changes = self._device.changes
        self._host = host_view()
        policy = resolve(self._paths.name, desired.settings, desired.peers, self._host)
        peers = _device_peers(desired.settings, desired.peers)
        present = self._present()
        edits = peer_edits(peers, self._peers, present)
        self._strangers = {found.public_key for found in present} - self._peers.keys()
        renamed = self._apply_peers(desired, policy, edits)
        self._peers = {peer.public_key: peer for peer in peers}
        self._names.want(_names(peers), renamed)

        self._apply_forwarding(policy)
        self._apply_interface(desired)
        self._unrouted = self._apply_routes(desired)
        self._settled = True
        return self._unrouted

    def apply_changes(self, desired: Desired, touched: AbstractSet[PublicKey]) -> list[str]:
        """Apply what differs in the peers with the keys `touched`, since the last call.

        All else is as it was: settings, key, and host. Returns and raises as `apply` does, and does
        the same if the last call failed, or somebody else changed the device meanwhile, or if what
        changes is within what another peer has, or around the tunnel's own networks.
        """
        if not self._settled or self._device.changes != self._changes:
            return self.apply(desired)
        if not touched:
            return self._unrouted
        if self._is_nested(desired, touched):
            return self.apply(desired)
        self._settled = False
        policy = resolve(self._paths.name, desired.settings, desired.peers, self._host)
        peers = [peer for peer in desired.peers if peer.public_key in touched]
        before = {key: self._peers[key] for key in touched & self._peers.keys()}
        # Others' peers, too: they may have what one of ours is given.
        present = self._present([*(touched | self._strangers)])
        renamed = self._apply_peers(desired, policy, peer_edits(peers, before, present))
        for key in before:
            del self._peers[key]
        self._peers.update((peer.public_key, peer) for peer in peers)
        if renamed or _names(before.values()):
            self._names.want(_names(self._peers.values()), renamed)
        self._unrouted = self._change_routes(desired, [*before.values()], peers)
        self._settled = True
        return self._unrouted

    def _present(self, keys: list[PublicKey] | None = None) -> list[PeerStatus]:
        """Read the device's peers. What others take away after this, no edit by it gives back."""
        present = self._device.status(keys).peers
        if self._is_overtaken():
            raise Overtaken
        return present

    def _is_nested(self, desired: Desired, touched: AbstractSet[PublicKey]) -> bool:
        """Whether it takes a look at all peers to tell what becomes of those who are `touched`."""
        changing = [peer for peer in desired.peers if peer.public_key in touched]
        changing += [self._peers[key] for key in touched & self._peers.keys()]
        own = [address.network for address in desired.settings.interface.addresses]
        behind = {network for peer in changing for network in peer.routed_networks}
        if any(network.overlaps(each) for network in behind for each in own):
            return True
        nest = Nest(each for peer in self._peers.values() for each in peer.routed_networks)
        return bool(nest) and any(
            any(nest.around(network)) for peer in changing for network in peer.allowed_ips
        )

    def _apply_peers(self, desired: Desired, policy: Policy, edits: PeerEdits) -> set[PublicKey]:
        """Give device and firewall their peers; return whose endpoint is another name now."""
        renamed = {edit["public_key"] for edit in edits.given if _take_name(edit)}
        hub = hub_classes(policy)
        self._set_hub(narrow(self._hub, hub))
        with self._leaving([edit["public_key"] for edit in edits.taken if "remove" in edit]):
            self._set_peers(edits.taken)
        fresh, self._touched_host = not self._touched_host, True
        if fresh:
            # What takes a way of its own finds that way closed until it is there.
            self._apply_routes(replace(desired, peers=()))
        self._apply_firewall(policy)
        self._set_peers(edits.given)
        self._set_hub(hub)
        return renamed

    def configure(self, settings: ServerSettings, private_key: PrivateKey) -> None:
        """Give the device its private key, port and mark.

        Raises `ConflictError` for a port in use.
        """
        found = self._device.status([])
        interface = settings.interface
        changes = _DeviceEdit()
        if found.public_key != private_key.public_key():
            changes["private_key"] = private_key
        if interface.listen_port not in {0, found.listen_port}:
            changes["listen_port"] = interface.listen_port
        if settings.fwmark != found.fwmark:
            changes["fwmark"] = settings.fwmark
        if changes:
            self._device.set(**changes)
            self._changes += 1
            _log_changes("device", [f"{name.replace('_', ' ')} set" for name in changes])

    def problems(self) -> list[str]:
        """Return what is not done yet of what goes on beside: endpoints that do not resolve."""
        return self._names.problems()

    @property
    def applied(self) -> Mapping[PublicKey, Peer]:
        """The peers that the device was given."""
        return self._peers

    def note(self, given: Iterable[Peer], gone: Iterable[PublicKey]) -> None:
        """Take over what others gave the device, as if it were ours, and what they took from it."""
        self._peers |= {peer.public_key: peer for peer in given}
        for key in gone:
            self._peers.pop(key, None)

    def release(self) -> None:
        """Take back what was changed on the host; the device is closed before."""
        self._names.close()
        self._firewall.close()
        if self._touched_host:
            release_host(self._paths)

    def _set_hub(self, hub: Hub) -> None:
        if hub != self._hub:
            self._device.set(hub=_native.Hub(hub.classes, list(hub.links)))
            self._changes += 1
            self._hub = hub
            _log.info("device: hub: %d addresses reach others straight", len(hub.classes))

    def _set_peers(self, edits: Sequence[PeerEdit]) -> None:
        if edits:
            self._device.set(peers=[PeerChange(**edit) for edit in edits])
            self._changes += 1
            removed = sum("remove" in edit for edit in edits)
            _log.info("device: peers: %d removed, %d set", removed, len(edits) - removed)

    def _apply_firewall(self, policy: Policy) -> None:
        if self._firewall.apply(policy):
            _log.info("firewall: rules applied")

    def _apply_forwarding(self, policy: Policy) -> None:
        if policy.forwards_packets:
            changes = enable_forwarding(self._paths.record)
        else:
            changes = restore_forwarding(self._paths.record)
        _log_changes("forwarding", changes)

    def _apply_interface(self, desired: Desired) -> None:
        name, interface = self._paths.name, desired.settings.interface
        _log_changes("interface", converge_interface(name, interface.addresses, interface.mtu))

    def _apply_routes(self, desired: Desired) -> list[str]:
        name, folder = self._paths.name, self._paths.run_dir
        changes, problems = apply_routing(name, folder, desired.settings, desired.peers)
        _log_changes("routing", changes)
        return problems

    def _change_routes(
        self, desired: Desired, before: Sequence[Peer], after: Sequence[Peer]
    ) -> list[str]:
        """Give the host the routes of peers that changed; look at all if that is not enough."""
        if not any(peer.routed_networks for peer in (*before, *after)):
            return self._unrouted
        if not (self._unrouted or needs_rules(desired.settings.routing)):
            with suppress(WgbindError):  # met again, and told, by a look at all
                changes = change_routing(self._paths.name, desired.settings, before, after)
                _log_changes("routing", changes)
                return []
        return self._apply_routes(desired)


def release_host(paths: Paths) -> bool:
    """Take back what a server changed on the host, and return whether there was anything.

    Its interface must be gone. Raises `NetworkError`, `FirewallError`, `PrivilegeError`.
    """
    recorded = paths.record.exists()
    routed = False
    try:
        restore_forwarding(paths.record)
        routed = release_block(paths.name)
    finally:
        removed = firewall.remove(paths.name)
    return recorded or routed or removed


def _device_peers(settings: ServerSettings, peers: Iterable[Peer]) -> list[Peer]:
    own = [address.network for address in settings.interface.addresses]
    peers = tuple(peers)
    return list(map(Surroundings(own, peers).given, peers))


def _take_name(edit: PeerEdit) -> bool:
    """Take a host name out of the edit's endpoint; return whether there was one."""
    if "endpoint" not in edit or not is_name(edit["endpoint"][0]):
        return False
    del edit["endpoint"]
    return True


def _names(peers: Iterable[Peer]) -> dict[PublicKey, Name]:
    return {
        peer.public_key: Name(peer.name, *peer.endpoint)
        for peer in peers
        if peer.endpoint is not None and is_name(peer.endpoint[0])
    }


def _log_changes(what: str, changes: Sequence[str]) -> None:
    for change in changes:
        _log.info("%s: %s", what, change)
