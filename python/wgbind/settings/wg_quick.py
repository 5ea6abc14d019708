"""A client's configuration, as wg-quick(8) and the WireGuard apps read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wgbind.settings.address import alone

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wgbind.keys import PresharedKey, PrivateKey, PublicKey
    from wgbind.settings.address import Address, Endpoint, Network


@dataclass(frozen=True)
class ClientConfiguration:
    """What a client has to know.

    `private_key` is None for a client that keeps its own; `endpoint` is None if nobody said where
    the server is: comments stand in for them. `persistent_keepalive` is in seconds, 0 for off.
    """

    private_key: PrivateKey | None
    addresses: tuple[Address, ...]
    dns: tuple[Address | str, ...]
    mtu: int | None
    public_key: PublicKey
    preshared_key: PresharedKey | None
    endpoint: Endpoint | None
    allowed_ips: tuple[Network, ...]
    persistent_keepalive: int

    def text(self) -> str:
        """Return the configuration; it holds the secrets."""
        lines = ["[Interface]"]
        if self.private_key is None:
            lines.append("# PrivateKey = your private key")
        else:
            lines.append(f"PrivateKey = {self.private_key.reveal()}")
        if self.addresses:
            lines.append(f"Address = {_list(map(alone, self.addresses))}")
        if self.dns:
            lines.append(f"DNS = {_list(self.dns)}")
        if self.mtu is not None:
            lines.append(f"MTU = {self.mtu}")
        lines += ["", "[Peer]", f"PublicKey = {self.public_key}"]
        if self.preshared_key is not None:
            lines.append(f"PresharedKey = {self.preshared_key.reveal()}")
        lines.append(f"AllowedIPs = {_list(self.allowed_ips)}")
        if self.endpoint is None:
            lines.append("# Endpoint = your server's name or address, and its port")
        else:
            lines.append(f"Endpoint = {self.endpoint}")
        if self.persistent_keepalive:
            lines.append(f"PersistentKeepalive = {self.persistent_keepalive}")
        return "\n".join(lines) + "\n"


def _list(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))
