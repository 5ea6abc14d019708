"""Servers made of files of wg-quick(8), and such files made of servers."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from wgbind.errors import ConflictError, NotFoundError
from wgbind.net.host import host_view
from wgbind.settings import toml
from wgbind.settings.defaults import fresh_client
from wgbind.settings.files import atomic_write, make_folder
from wgbind.settings.private_key import create_key_file, read_private_key
from wgbind.store.store import Store
from wgbind.wg_quick.export import export_text
from wgbind.wg_quick.file import WgQuickFile
from wgbind.wg_quick.importing import import_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wgbind.server.server import Server
    from wgbind.settings.paths import Paths
    from wgbind.settings.policy import Preset
    from wgbind.store.peer import Peer
    from wgbind.wg_quick.importing import Import


def understand(
    text: str,
    source: str,
    name: str,
    *,
    run_hooks: bool = False,
    preset: Sequence[Preset] = (),
) -> Import:
    """Make of the text of a file, which is called `source`, what the server `name` would be.

    Nothing is written; raises `InputError` as `import_file` does.
    """
    file = WgQuickFile.parse(text, source)
    return import_file(
        file,
        name,
        fresh_client(host_view()),
        datetime.now(timezone.utc),
        run_hooks=run_hooks,
        preset=preset,
    )


def create(paths: Paths, found: Import) -> None:
    """Write settings, private key and peers of a new server: all of it, or nothing.

    The settings come last, so that a server that is there is whole. Raises `ConflictError` if there
    is anything of that name already, which stays as it is, `StoreError`, `PrivilegeError`,
    `OSError`.
    """
    if paths.settings.exists():
        raise ConflictError(
            f"{paths.settings}: there are settings already; they stay; --name makes a server of"
            " another name"
        )
    make_folder(paths.config_dir)
    with ExitStack() as undo:
        if not _has_key(paths, found):
            create_key_file(paths.private_key, found.private_key.reveal(), "private key")
            undo.callback(paths.private_key.unlink)
        with Store.open(paths, found.settings) as store:
            store.revise(paths.name, lambda old: _addition(found, old))
            if found.peers:
                keys = [peer.public_key for peer in found.peers]
                undo.callback(store.remove_peers, paths.name, keys)
            text = toml.dump(found.settings)
            atomic_write(paths.settings, text.encode(), 0o600, replace=False)
            undo.pop_all()


def export(server: Server) -> str:
    """Write the server's file for wg-quick(8); it holds its secrets.

    Raises `NotFoundError`, `StoreError`.
    """
    configuration = server.configuration()
    with Store.open(server.paths, configuration.settings) as store:
        peers = store.peers(server.name, private_keys=False)
    return export_text(
        configuration.settings, configuration.private_key, peers, datetime.now(timezone.utc)
    )


@dataclass(frozen=True)
class _Addition:
    """What an import does to the store."""

    added: Sequence[Peer]
    changed: Sequence[Peer] = field(default=())
    removed: Sequence[Peer] = field(default=())


def _addition(found: Import, old: Sequence[Peer]) -> _Addition:
    # What an import left that was cut off before it wrote the settings is done anew.
    keys = {peer.public_key for peer in found.peers}
    for peer in old:
        if peer.public_key not in keys:
            raise ConflictError(
                f"the store has peers of {found.name} already, such as {peer.name}; they stay;"
                " --name makes a server of another name"
            )
    return _Addition(found.peers, removed=old)


def _has_key(paths: Paths, found: Import) -> bool:
    """Tell whether the key's file is there and holds this key; refuse another one."""
    try:
        same = read_private_key(paths.private_key) == found.private_key
    except NotFoundError:
        return False
    if not same:
        raise ConflictError(
            f"{paths.private_key}: there is another private key already; it stays; --name makes a"
            " server of another name"
        )
    return True
