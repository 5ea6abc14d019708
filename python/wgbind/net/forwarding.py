"""IP forwarding of this host: switched on for the tunnel, and back when the last server stops.

What was changed stands in a record, written before the change: a server that was killed finds
there what the host had before. The records of all servers of a host are in one folder; what one
of them changed, the others claim too, and the last to stop sets it back.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wgbind.errors import NetworkError
from wgbind.net import sysctl
from wgbind.net.host_lock import host_lock
from wgbind.net.netlink import netlink, outside_event_loop
from wgbind.settings.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterable

IPV4_SWITCH = "net/ipv4/ip_forward"
IPV6_SWITCH = "net/ipv6/conf/all/forwarding"
SWITCHES = (IPV4_SWITCH, IPV6_SWITCH)

# Router advertisements do not come through tunnels: a peer could send them as well as a router.
TUNNEL_KINDS = frozenset({"tun", "wireguard"})


@dataclass(frozen=True)
class Change:
    """One kernel setting that was changed.

    Attributes:
        key: The setting, a path below /proc/sys.
        old: What it was.
        new: What we made it.
        along: Other settings, with their values before, that the kernel resets with this one.
    """

    key: str
    old: str
    new: str
    along: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{sysctl.dotted(self.key)} {self.new} instead of {self.old}"


@outside_event_loop
def enable_forwarding(record_path: Path) -> list[str]:
    """Forward IPv4, and IPv6 where this host has it; remember in the record what was changed.

    Router advertisements are still heard where they were before. What is on already, and not by
    another wgbind server, is left alone and will not be switched off. Call it again to have what
    others changed meanwhile set once more, and interfaces that came later seen to.

    Returns what changed, a line each. Raises `NetworkError`, `PrivilegeError`.
    """
    with host_lock(record_path.parent):
        recorded = _load(record_path)
        claims = _claims_of_others(record_path) | recorded
        for key in _switches():
            if key not in claims and sysctl.read(key) == "0":
                claims[key] = Change(key, old="0", new="1", along=_reset_along(key))
        if IPV6_SWITCH in claims:
            # Before the switch: the kernel forgets the default routes that it learnt from
            # advertisements on interfaces that no longer hear them (net/ipv6/addrconf.c,
            # addrconf_fixup_forwarding).
            claims = _keep_advertisements(claims[IPV6_SWITCH].along) | claims
        pending = [change for change in claims.values() if sysctl.read(change.key) == change.old]
        _require_writable(change for change in pending if change.key in SWITCHES)
        if claims != recorded:
            _store(record_path, claims)
        for change in pending:
            sysctl.write(change.key, change.new)
        return [str(change) for change in pending]


def restore_forwarding(record_path: Path) -> list[str]:
    """Set back what the record says, and remove it; without a record do nothing.

    A setting that another server's record names too stays until that one is restored; one that
    is no longer what we made it belongs to who changed it.

    Returns what changed, a line each. Raises `NetworkError`, `PrivilegeError`.
    """
    if not record_path.exists():
        return []
    with host_lock(record_path.parent):
        others = _claims_of_others(record_path)
        changed = []
        for change in reversed(_load(record_path).values()):
            if change.key in others or sysctl.read(change.key) != change.new:
                continue
            sysctl.write(change.key, change.old)
            changed.append(f"{sysctl.dotted(change.key)} {change.old} again")
            for key, value in change.along.items():
                if sysctl.read(key) != value:
                    sysctl.write(key, value)
        record_path.unlink(missing_ok=True)
        return changed


def _switches() -> tuple[str, ...]:
    # A container without IPv6 may lack the right to switch on what it has no use for.
    ipv6 = any(sysctl.ipv6_enabled(name) for name in sysctl.interfaces("ipv6"))
    return SWITCHES if ipv6 else (IPV4_SWITCH,)


def _require_writable(changes: Iterable[Change]) -> None:
    wanted = [
        f"{sysctl.dotted(change.key)}={change.new}"
        for change in changes
        if sysctl.read_only(change.key)
    ]
    if wanted:
        raise NetworkError(
            f"/proc/sys is read-only here, and needed is {' '.join(wanted)}: set it on the host, "
            f"or start the container with {' '.join(f'--sysctl {each}' for each in wanted)}"
        )


def _reset_along(switch: str) -> dict[str, str]:
    """Return what the kernel will have reset when a switch that is off was on and is off again.

    The switch sets each interface's own `forwarding`, and IPv4's `accept_redirects` to the
    contrary (net/ipv4/devinet.c, inet_forward_change).
    """
    family = "ipv4" if switch == IPV4_SWITCH else "ipv6"
    reset = {
        f"net/{family}/conf/{name}/forwarding": "0"
        for name in ("default", *sysctl.interfaces(family))
    }
    if switch == IPV4_SWITCH:
        reset["net/ipv4/conf/all/accept_redirects"] = "1"
    before = {key: sysctl.read(key) for key in reset}
    return {key: value for key, value in before.items() if value not in {None, reset[key]}}


def _keep_advertisements(forwarding_before: dict[str, str]) -> dict[str, Change]:
    """Return the changes by which hosts that forward hear the advertisements they heard before.

    1 is "unless forwarding", 2 "even if forwarding" (kernel: Documentation/networking/ip-sysctl).
    An interface that forwarded before heard none.
    """
    with netlink("reading interfaces") as kernel:
        tunnels = {
            link.get("IFLA_IFNAME")
            for link in kernel.get_links()
            if link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") in TUNNEL_KINDS
        }
    changes = {}
    for name in sysctl.interfaces("ipv6"):
        key, own = (f"net/ipv6/conf/{name}/{setting}" for setting in ("accept_ra", "forwarding"))
        if name not in tunnels and own not in forwarding_before and sysctl.read(key) == "1":
            changes[key] = Change(key, old="1", new="2")
    return changes


def _claims_of_others(record_path: Path) -> dict[str, Change]:
    claims: dict[str, Change] = {}
    for path in sorted(record_path.parent.glob("*.json")):
        if path != record_path:
            claims.update(_load(path))
    return claims


def _load(path: Path) -> dict[str, Change]:
    """Read a record, in the order of its changes; empty if there is none of this boot."""
    try:
        record = json.loads(path.read_bytes())
        if record["kernel"] != _kernel():
            return {}
        return {entry["key"]: Change(**entry) for entry in record["changes"]}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError):
        raise NetworkError(
            f"{path}: not a record of what wgbind changed on this host; check the kernel's "
            "forwarding settings and remove the file"
        ) from None


def _store(path: Path, changes: dict[str, Change]) -> None:
    record = {
        "kernel": _kernel(),
        "changes": [asdict(change) for change in changes.values()],
    }
    atomic_write(path, json.dumps(record, indent=2).encode() + b"\n", 0o600)


def _kernel() -> str:
    """Identify what holds the settings, this boot and network namespace: a file may outlive it."""
    return f"{sysctl.read('kernel/random/boot_id')} {Path('/proc/thread-self/ns/net').readlink()}"
