"""Arguments and options that commands of `wgbind peer` share, and the words that they take."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from wgbind.cli import complete
from wgbind.cli.options import Options

Which: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Name or public key of the peer.", autocompletion=complete.peers
    ),
]
Qr: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--qr/--no-qr",
        help="Print the QR code behind it; by default only on a terminal.",
        show_default=False,
    ),
]
AllowedIps: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WORD|NETWORK",
        help="What it reaches through the tunnel: full, split, or networks; repeatable.",
    ),
]
Exclude: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="NETWORK", help="What it does not, though it lies in those; repeatable."),
]
Dns: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="ADDRESS|DOMAIN", help="Its name servers and domains; repeatable."),
]
Mtu: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="BYTES", help="Its MTU, if it shall not find that out itself."),
]


@dataclass(frozen=True)
class ClientOptions(Options):
    """What a peer's own configuration says."""

    allowed_ips: AllowedIps = None
    exclude: Exclude = None
    dns: Dns = None
    mtu: Mtu = None

    @property
    def texts(self) -> dict[str, list[str] | None]:
        """What is said, as `ClientOverrides.changed` takes it."""
        return {
            "allowed_ips": self.allowed_ips,
            "excluded_ips": self.exclude,
            "dns": self.dns,
            "mtu": None if self.mtu is None else [self.mtu],
        }


EndpointName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="NAME|all",
        help="For this one of client.endpoints in the settings, or one file for each.",
        autocompletion=complete.endpoints,
    ),
]
Out: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Write it there instead: FILE.conf, FILE.svg or FILE.png (QR codes), FILE.zip or a "
        "directory.",
    ),
]
Description: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TEXT", help="One line about it.", show_default=False)
]
Notes: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Any number of lines about it.", show_default=False),
]
Expires: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help="When it is served no more: 30d, 12h, 2026-12-31 (through that day, UTC) or a time "
        "in ISO 8601.",
    ),
]
ServerKeepalive: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--keepalive",
        metavar="SECONDS",
        help="Between packets that the server sends it; 0 is off.",
        show_default=False,
    ),
]
NewKey: TypeAlias = Annotated[
    str | None, typer.Option(metavar="KEY", help="Its key, if it keeps its private key to itself.")
]


class PresharedKeyChange(str, Enum):
    """What becomes of a preshared key."""

    ON = "on"
    OFF = "off"
    NEW = "new"


class ListedState(str, Enum):
    """A `PeerState`."""

    CONNECTED = "connected"
    IDLE = "idle"
    NEVER = "never"
    DISABLED = "disabled"
    EXPIRED = "expired"


class Sorting(str, Enum):
    """What a list is sorted by."""

    NAME = "name"
    STATE = "state"
    HANDSHAKE = "handshake"
    RECEIVED = "received"
    SENT = "sent"
    EXPIRES = "expires"
