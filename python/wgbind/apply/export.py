"""Peers as a document that makes them what they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from wgbind.apply.document import PeerDocument

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wgbind.store.peer import Peer


def exported(peers: Iterable[Peer], form: Literal["json", "yaml", "toml"], *, secrets: bool) -> str:
    """Write peers as `Document.read` reads them; keys that stay secret only with `secrets`."""
    said = {"peers": {peer.name: _said(peer, secrets=secrets) for peer in peers}}
    if form == "json":
        return json.dumps(said, indent=2) + "\n"
    if form == "yaml":
        import yaml

        return yaml.safe_dump(said, sort_keys=False, allow_unicode=True)
    import tomlkit

    return tomlkit.dumps(said)


def _said(peer: Peer, *, secrets: bool) -> dict[str, Any]:
    document = PeerDocument(
        public_key=peer.public_key,
        private_key=peer.private_key if secrets else None,
        preshared_key=(peer.preshared_key if secrets else None) or peer.preshared_key is not None,
        addresses=peer.addresses,
        routed_networks=peer.routed_networks,
        groups=tuple(sorted(peer.groups)),
        endpoint=peer.endpoint,
        persistent_keepalive=peer.persistent_keepalive,
        client=peer.client,
        description=peer.description,
        notes=peer.notes,
        enabled=peer.enabled,
        expires_at=peer.expires_at,
    )
    said = document.model_dump(mode="json", exclude_defaults=True)
    if "client" in said:
        said["client"] = {key: each for key, each in said["client"].items() if each is not None}
    return said
