"""Peers in files: tables in CSV, and documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wgbind.apply.difference import difference
from wgbind.apply.document import Document
from wgbind.errors import InputError
from wgbind.server.peer_csv import PeerTable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wgbind.api.change import NewPeer


def read_peers(path: Path) -> Sequence[NewPeer]:
    """Read the peers of a file, by its suffix: .csv, or .json, .yaml and .toml for documents.

    Raises `InputError`, with the line, for what is wrong in it, and `OSError`.
    """
    if path.suffix == ".csv":
        return PeerTable(path).peers
    document = Document.read(path)
    if document.settings:
        raise InputError(
            f"{document.source.at('settings')}key settings: an import adds peers alone; "
            "`wgbind apply` takes settings, too"
        )
    return difference((), document.peers or {}, prune=False).added
