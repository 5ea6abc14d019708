"""A small obvious model of the protocol: what a device has after a sequence of requests."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_network

from uapi.control import ZERO, Answer, to_hex
from wgbind.keys import PrivateKey


@dataclass(frozen=True)
class Edit:
    """What one request asks of one peer, in the order in which its lines are written."""

    key: str
    remove: bool = False
    update_only: bool = False
    preshared_key: str | None = None
    endpoint: str | None = None
    persistent_keepalive: int | None = None
    replace_allowed_ips: bool = False
    allowed_ips: tuple[tuple[bool, str], ...] = ()

    def lines(self) -> list[str]:
        """Write it down."""
        lines = [f"public_key={self.key}"]
        lines += ["remove=true"] * self.remove
        lines += ["update_only=true"] * self.update_only
        if self.preshared_key is not None:
            lines.append(f"preshared_key={self.preshared_key}")
        if self.endpoint is not None:
            lines.append(f"endpoint={self.endpoint}")
        if self.persistent_keepalive is not None:
            lines.append(f"persistent_keepalive_interval={self.persistent_keepalive}")
        lines += ["replace_allowed_ips=true"] * self.replace_allowed_ips
        lines += [f"allowed_ip={'-' * taken}{prefix}" for taken, prefix in self.allowed_ips]
        return lines


@dataclass(frozen=True)
class Request:
    """A `set`."""

    private_key: str | None = None
    fwmark: int | None = None
    replace_peers: bool = False
    peers: tuple[Edit, ...] = ()
    bad_line: str | None = None

    def lines(self) -> list[str]:
        """Write it down, with the bad line last, where most would have been applied."""
        lines = []
        if self.private_key is not None:
            lines.append(f"private_key={self.private_key}")
        if self.fwmark is not None:
            lines.append(f"fwmark={self.fwmark}")
        lines += ["replace_peers=true"] * self.replace_peers
        lines += [line for peer in self.peers for line in peer.lines()]
        return lines if self.bad_line is None else [*lines, self.bad_line]


@dataclass(frozen=True)
class ModelPeer:
    """What is configured of a peer, the allowed IPs apart."""

    preshared_key: str = ZERO
    endpoint: str | None = None
    persistent_keepalive: int = 0


@dataclass
class Model:
    """What a device should have.

    Attributes:
        keeps_endpoints: Whether a peer that `replace_peers` finds named again keeps its endpoint.
    """

    keeps_endpoints: bool
    private_key: str | None = None
    fwmark: int = 0
    peers: dict[str, ModelPeer] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    def apply(self, request: Request) -> None:
        """Carry out a request."""
        if request.bad_line is not None:
            return
        if request.private_key is not None:
            self.private_key = None if request.private_key == ZERO else request.private_key
            self._remove(self._own())
        if request.fwmark is not None:
            self.fwmark = request.fwmark
        if request.replace_peers:
            self._replace({edit.key for edit in request.peers})
        for edit in request.peers:
            self._apply(edit)

    def _replace(self, named: set[str]) -> None:
        self.owners.clear()
        if not self.keeps_endpoints:
            self.peers.clear()
            return
        self.peers = {
            key: ModelPeer(endpoint=peer.endpoint)
            for key, peer in self.peers.items()
            if key in named
        }

    def _apply(self, edit: Edit) -> None:
        if edit.remove:
            self._remove(edit.key)
            return
        if edit.key not in self.peers:
            if edit.update_only or edit.key == self._own():
                return
            self.peers[edit.key] = ModelPeer()
        peer = self.peers[edit.key]
        if edit.preshared_key is not None:
            peer = replace(peer, preshared_key=edit.preshared_key)
        if edit.endpoint is not None:
            peer = replace(peer, endpoint=edit.endpoint)
        if edit.persistent_keepalive is not None:
            peer = replace(peer, persistent_keepalive=edit.persistent_keepalive)
        self.peers[edit.key] = peer
        if edit.replace_allowed_ips:
            self._take_all(edit.key)
        for taken, text in edit.allowed_ips:
            prefix = str(ip_network(text, strict=False))
            if not taken:
                self.owners[prefix] = edit.key
            elif self.owners.get(prefix) == edit.key:
                del self.owners[prefix]

    def _remove(self, key: str | None) -> None:
        if key is not None and self.peers.pop(key, None) is not None:
            self._take_all(key)

    def _take_all(self, key: str) -> None:
        self.owners = {prefix: owner for prefix, owner in self.owners.items() if owner != key}

    def _own(self) -> str | None:
        """Return the public key of the device."""
        if self.private_key is None:
            return None
        return public_key(self.private_key)

    def check(self, answer: Answer) -> None:
        """Compare with what the device says."""
        assert answer.errno == "0"
        assert answer.private_key == self.private_key
        assert answer.fwmark == self.fwmark
        found = {
            key: ModelPeer(peer.preshared_key, peer.endpoint, peer.persistent_keepalive)
            for key, peer in answer.peers.items()
        }
        assert found == self.peers
        owners = [
            (prefix, key) for key, peer in answer.peers.items() for prefix in peer.allowed_ips
        ]
        assert sorted(owners) == sorted(self.owners.items())


def public_key(private_key: str) -> str:
    """Compute the public key, in the protocol's digits."""
    return to_hex(str(PrivateKey(private_key).public_key()))
