"""Kernel settings under /proc/sys/net, those of the network namespace we are in (sysctl(8)).

A key is the path below /proc/sys: an interface's name in it may hold dots.
"""

from __future__ import annotations

import os
from pathlib import Path

from wgbind.errors import NetworkError, PrivilegeError

_ROOT = Path("/proc/sys")


def read(key: str) -> str | None:
    """Return a setting's value; None if this kernel, or an interface that is gone, has no such."""
    try:
        return _ROOT.joinpath(key).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def write(key: str, value: str) -> None:
    """Set a setting; one that is gone with its interface counts as set.

    Raises `PrivilegeError` without the right, `NetworkError` if the kernel refuses.
    """
    try:
        _ROOT.joinpath(key).write_text(value, encoding="utf-8")
    except FileNotFoundError:
        return
    except OSError as error:
        problem = f"{dotted(key)} is {read(key)} and has to be {value}"
        if isinstance(error, PermissionError):
            raise PrivilegeError(f"{problem}: needs CAP_NET_ADMIN; run it as root") from None
        raise NetworkError(f"{problem}: {error.strerror}") from None


def read_only(key: str) -> bool:
    """Whether a setting that exists cannot be set by anybody here, as in many containers."""
    return bool(os.statvfs(_ROOT / key).f_flag & os.ST_RDONLY)


def interfaces(family: str) -> list[str]:
    """Return the names of the interfaces, but loopback, that have settings of "ipv4" or "ipv6".

    An empty list if the kernel lacks the family.
    """
    try:
        entries = sorted(entry.name for entry in _ROOT.joinpath(f"net/{family}/conf").iterdir())
    except FileNotFoundError:
        return []
    return [name for name in entries if name not in {"all", "default", "lo"}]


def ipv6_enabled(interface: str) -> bool:
    """Whether an interface takes IPv6 addresses: the kernel has IPv6 and nobody switched it off."""
    return read(f"net/ipv6/conf/{interface}/disable_ipv6") == "0"


def dotted(key: str) -> str:
    """Return a key as sysctl(8) spells it: dots between the parts, a slash for a dot in one."""
    return key.translate({ord("/"): ".", ord("."): "/"})
