"""A server's routes and rules, applied in an order that lets no traffic leave by a wrong way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wgbind.errors import WgbindError
from wgbind.net import sysctl
from wgbind.net.route import change_routes, converge_routes
from wgbind.net.rule import add_rules, claim_block, release_block, remove_rules
from wgbind.net.uplink import uplinks
from wgbind.server.routing_plan import needs_rules, plan
from wgbind.settings.routing import EXIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wgbind.settings.model import ServerSettings
    from wgbind.store.peer import Peer


def apply_routing(
    name: str, folder: Path, settings: ServerSettings, peers: Sequence[Peer]
) -> tuple[list[str], list[str]]:
    """Give the host the routes and rules of the server with interface `name`, and no others of it.

    `folder` is where the servers of this host keep their run-time files. Returns what changed and
    what could not be done, a line each; what can be done is.
    """
    changes: list[str] = []
    problems: list[str] = []
    try:
        if not needs_rules(settings.routing):
            if release_block(name):
                changes.append("all rules removed")
            changes += converge_routes(name, plan(name, settings, peers, None, {}).routes)
            return changes, problems
        block = claim_block(name, folder)
        wanted = plan(name, settings, peers, block, uplinks(name))
        _let_answers_in(name, settings)
        # A rule goes before the table that it looks into is emptied, and comes after it is filled.
        changes += remove_rules(block, wanted.rules)
        try:
            changes += converge_routes(name, wanted.routes, block.tables)
        except WgbindError as error:
            problems.append(str(error))
        changes += add_rules(block, wanted.rules)
    except WgbindError as error:
        problems.append(str(error))
    return changes, problems + _missing(settings, peers)


def change_routing(
    name: str, settings: ServerSettings, before: Sequence[Peer], after: Sequence[Peer]
) -> list[str]:
    """Give the host the routes to some peers' networks in place of those that they had `before`.

    Only for a server that needs no rules. Returns what changed, a line each; raises as
    `change_routes` does.
    """
    old, new = (set(plan(name, settings, peers, None, {}).routes) for peers in (before, after))
    return change_routes(name, new - old, old - new) if new != old else []


def _let_answers_in(name: str, settings: ServerSettings) -> None:
    """Bear sources behind the tunnel to which the main table knows another way.

    The kernel would drop them by net.ipv4.conf.*.rp_filter = 1; of "all" and the interface the
    larger counts. Cryptokey routing has checked the source by then.
    """
    routing = settings.routing
    if routing.exit or EXIT in routing.egress_for.values():
        keys = [f"net/ipv4/conf/{each}/rp_filter" for each in ("all", name)]
        if max(sysctl.read(key) or "0" for key in keys) == "1":
            sysctl.write(keys[1], "2")


def _missing(settings: ServerSettings, peers: Sequence[Peer]) -> list[str]:
    routing = settings.routing
    used = routing.exit or EXIT in routing.egress_for.values()
    if not used or any(each.prefixlen == 0 for peer in peers for each in peer.routed_networks):
        return []
    return [
        "routing.exit: no peer has the routed network 0.0.0.0/0 or ::/0, so what takes the exit "
        "reaches no internet; `wgbind peer add NAME --route 0.0.0.0/0` adds one"
    ]
