"""All that the doctor looks at."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from wgbind.doctor import filters, host
from wgbind.errors import NotFoundError
from wgbind.net.host import host_view
from wgbind.server.advertised import egress
from wgbind.server.policy import resolve
from wgbind.settings.defaults import fresh_settings
from wgbind.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wgbind.doctor.finding import Finding
    from wgbind.server.server import Server


def examine(server: Server) -> list[Finding]:
    """Look for what stands in a server's way; that which blocks it comes first.

    A server without settings is examined as if it had those that a start would make. Raises
    `SettingsError`, `StoreError`, `NetworkError`, `FirewallError`, and `PrivilegeError` for who may
    not look.
    """
    return sorted(_findings(server), key=lambda finding: not finding.blocks)


def _findings(server: Server) -> Iterator[Finding]:
    try:
        settings = server.configuration().settings
    except NotFoundError:
        settings = fresh_settings(host_view())
        peers = []
    else:
        with Store.open(server.paths, settings) as store:
            peers = store.peers(server.name, private_keys=False)
    running = server.pid() is not None
    view = host_view(settings.fwmark)
    now = datetime.now(timezone.utc)
    served = [peer for peer in peers if peer.served(now)]
    policy = resolve(server.name, settings, served, view)
    outside = egress(settings, view) or view.egress
    listen_port = settings.interface.listen_port or (server.status().listen_port if running else 0)

    yield from host.programs()
    yield from host.clock(peers)
    yield from host.forwarding(settings, running=running)
    if not running:
        yield from host.port(listen_port)
    ruleset = filters.read_ruleset(server.name)
    if ruleset is not None:
        yield from filters.blocked(ruleset, policy, outside, listen_port)
    yield from filters.legacy()
    yield from host.buffers()
    yield from host.reverse_path(settings, outside)
    version = max((address.version for address in view.addresses), default=4)
    yield from host.mtu(settings, outside, version)
