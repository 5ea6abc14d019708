"""What the shell completes: names of servers, peers, groups and endpoints."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import typer  # noqa: TC002 (Typer reads it)

if TYPE_CHECKING:
    from collections.abc import Iterable


def servers(incomplete: str) -> list[str]:
    """Return the servers that have settings."""
    from wgbind.settings.paths import Paths

    with suppress(Exception):  # a completion has no place for a message
        folder = Paths.of("wg0").config_dir
        return _matching((path.stem for path in folder.glob("*.toml")), incomplete)
    return []


def peers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the peers of the server that the command line names."""
    with suppress(Exception):
        from wgbind.server.server import Server

        return _matching((peer.name for peer in Server(_server(ctx)).peers.list()), incomplete)
    return []


def groups(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the groups that its settings name."""
    with suppress(Exception):
        from wgbind.settings import toml
        from wgbind.settings.paths import Paths

        settings = toml.load(Paths.of(_server(ctx)).settings)
        return _matching(settings.policy.groups, incomplete)
    return []


def endpoints(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the endpoints that its settings name, and the word for all."""
    with suppress(Exception):
        from wgbind.settings import toml
        from wgbind.settings.client import ALL
        from wgbind.settings.paths import Paths

        settings = toml.load(Paths.of(_server(ctx)).settings)
        return _matching((*settings.client.endpoints, ALL), incomplete)
    return []


def _server(ctx: typer.Context) -> str:
    return str(ctx.params.get("server") or "wg0")


def _matching(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
