"""Whether this process may do what only an administrator of the network may."""

from pathlib import Path

from wgbind.errors import PrivilegeError

_CAP_NET_ADMIN = 12  # linux/capability.h


def require_net_admin(action: str) -> None:
    """Raise `PrivilegeError` unless CAP_NET_ADMIN is in effect; `action` says for what."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    if not int(effective.split()[1], 16) >> _CAP_NET_ADMIN & 1:
        raise PrivilegeError(f"{action} needs CAP_NET_ADMIN; run it as root, such as with sudo")
