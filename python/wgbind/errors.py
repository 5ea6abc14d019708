"""Everything that wgbind raises on purpose.

WgbindError
├── InputError              what was given is wrong; nothing was tried      (exit code 2)
│   ├── KeyFormatError      a key's text is neither base64 nor hexadecimal
│   ├── SettingsError       the settings file: file, line, key and remedy
│   └── PeerError           a peer's name, key or address
├── ConflictError           it is right by itself, but taken already        (exit code 1)
├── NotFoundError           no such server or peer                          (exit code 1)
├── StateError              the server runs already, or does not run        (exit code 1)
├── PrivilegeError          not allowed: who may, and how                   (exit code 1)
├── StoreError              the database cannot be opened, read or written  (exit code 1)
├── DeviceError             the TUN device, its sockets or its worker       (exit code 1)
├── NetworkError            addresses, routes or forwarding                 (exit code 1)
└── FirewallError           nftables                                        (exit code 1)

Each message is one line that names the field, the value and the remedy. None
holds a secret.
"""

from typing import ClassVar


class WgbindError(Exception):
    """Base of every error that wgbind raises on purpose.

    Attributes:
        item: Of several changes that were asked for together, the number of the one that was
            refused, from 0 on; None if it is about none of them.
    """

    exit_code: ClassVar[int] = 1
    item: int | None = None


class InputError(WgbindError):
    """What was given is wrong; nothing was tried."""

    exit_code: ClassVar[int] = 2


class KeyFormatError(InputError):
    """A key's text is neither base64 nor hexadecimal of 32 bytes."""


class SettingsError(InputError):
    """The settings file is wrong: the message names file, line, key and remedy."""


class PeerError(InputError):
    """A peer's name, key or address is wrong."""


class ConflictError(WgbindError):
    """What was asked for is right by itself, but taken already."""


class NotFoundError(WgbindError):
    """No such server or peer."""


class StateError(WgbindError):
    """The server runs already, or does not run."""


class PrivilegeError(WgbindError):
    """The operation needs a right that this process lacks."""


class StoreError(WgbindError):
    """The database cannot be opened, read or written."""


class DeviceError(WgbindError):
    """The TUN device, its sockets or one of its threads failed."""


class NetworkError(WgbindError):
    """Addresses, routes or forwarding could not be read or set."""


class FirewallError(WgbindError):
    """The nftables ruleset could not be read or applied."""


def revive(kind: str, message: str) -> WgbindError:
    """Make the error again that another process raised.

    `kind` is the name of its class; an unknown one gives a `WgbindError`.
    """
    found = globals().get(kind)
    if isinstance(found, type) and issubclass(found, WgbindError):
        return found(message)
    return WgbindError(message)
