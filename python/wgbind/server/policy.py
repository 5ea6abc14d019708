"""The policy of a server as it is now: its settings beside its peers and its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wgbind.firewall.policy import Policy
from wgbind.server.advertised import egress
from wgbind.server.routing_plan import marks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wgbind.firewall.policy import Member
    from wgbind.net.host import HostView
    from wgbind.settings.model import ServerSettings


def resolve(
    interface: str, settings: ServerSettings, members: Iterable[Member], host: HostView
) -> Policy:
    """Put a server's policy together."""
    return Policy(
        interface,
        settings.interface.addresses,
        egress(settings, host),
        settings.policy,
        tuple(members),
        marks(settings.routing),
    )
