"""Who may use the control socket: whom the kernel says that the caller is."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wgbind.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wgbind.settings.api import ApiSettings

_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid (unix(7))
_SO_PEERGROUPS = 59  # the kernel's asm-generic/socket.h; Python has no name for it
_MAX_GROUPS = 256  # what fits into the 1,024 bytes that Python's getsockopt takes at most


@dataclass(frozen=True)
class Access:
    """Users and groups of this host, by number, who may call."""

    users: frozenset[int]
    groups: frozenset[int] = frozenset()

    @classmethod
    def of(cls, settings: ApiSettings) -> Access:
        """Take root, this process's user, and those in the settings.

        Raises `SettingsError` for a user or group that this host does not have.
        """
        return cls(
            frozenset({0, os.geteuid(), *map(_user, settings.socket_users)}),
            frozenset(map(_group, settings.socket_groups)),
        )

    @property
    def is_shared(self) -> bool:
        """Whether others than root and this process's user may call."""
        return bool(self.groups or self.users - {0, os.geteuid()})

    def admits(self, connection: socket.socket) -> bool:
        """Tell whether who opened this connection of a Unix socket may call."""
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, user, group = _CREDENTIALS.unpack(found)
        if user in self.users:
            return True
        if not self.groups:
            return False
        return not self.groups.isdisjoint({group, *_supplementary_groups(connection)})


def _supplementary_groups(connection: socket.socket) -> Iterable[int]:
    try:
        data = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MAX_GROUPS)
    except OSError:  # who is in more groups than that is to be named among the users
        return ()
    return struct.unpack(f"={len(data) // 4}I", data)


def _user(name: str) -> int:
    try:
        return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise SettingsError(
            f"key api.socket_users: there is no user {name!r} on this host; make or leave it out"
        ) from None


def _group(name: str) -> int:
    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise SettingsError(
            f"key api.socket_groups: there is no group {name!r} on this host; make or leave it out"
        ) from None
