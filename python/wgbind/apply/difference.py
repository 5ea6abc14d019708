"""The smallest change of a server's peers that makes a document true; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from wgbind.api.change import NewPeer
from wgbind.apply.report import PeerPlan, ValueChange
from wgbind.errors import InputError
from wgbind.keys import PresharedKey
from wgbind.settings.address import Endpoint
from wgbind.settings.client import ClientOverrides
from wgbind.store.expiry import utc_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from wgbind.api.change import NewPeerFields
    from wgbind.apply.document import PeerDocument
    from wgbind.keys import PublicKey
    from wgbind.store.peer import Peer, PeerChanges

_SECRET = "(secret)"  # noqa: S105  a word in its place
_SECRETS = {"preshared_key", "private_key"}

# A list in the document, where the order says nothing.
_SETS = {"addresses", "routed_networks", "groups"}


@dataclass
class Difference:
    """Peers to be removed, changed and added, in this order.

    Attributes:
        removed: The peers that go.
        changed: For each peer as it is, the fields that it gets.
        added: New ones.
        unchanged: How many are already as the document says.
    """

    removed: list[Peer] = field(default_factory=list)
    changed: list[tuple[Peer, PeerChanges]] = field(default_factory=list)
    added: list[NewPeer] = field(default_factory=list)
    unchanged: int = 0

    def __bool__(self) -> bool:
        return bool(self.removed or self.changed or self.added)

    def reports(self) -> tuple[PeerPlan, ...]:
        """Say it in words."""
        removed = (PeerPlan(name=peer.name, change="removed") for peer in self.removed)
        changed = (
            PeerPlan(name=peer.name, change="changed", values=tuple(_changes(peer, changes)))
            for peer, changes in self.changed
        )
        added = (
            PeerPlan(name=new.name, change="added", values=tuple(_values(new)))
            for new in self.added
        )
        return (*removed, *changed, *added)


def difference(
    peers: Iterable[Peer], wanted: Mapping[str, PeerDocument], *, prune: bool
) -> Difference:
    """Compare the peers there are, by name, with those of a document.

    With `prune`, those that it does not name go. Raises `InputError` for a private key that is not
    the one of the public key beside it.
    """
    found = Difference()
    present = {peer.name: peer for peer in peers}
    if prune:
        found.removed = [peer for name, peer in present.items() if name not in wanted]
    for name, document in wanted.items():
        fields = _fields(name, document)
        old = present.get(name)
        if old is None:
            found.added.append(NewPeer(name, **fields))
            continue
        changes = _differing(old, fields)
        if changes:
            found.changed.append((old, changes))
        else:
            found.unchanged += 1
    return found


def _fields(name: str, document: PeerDocument) -> NewPeerFields:
    """Return what the document names, by the fields of `Peer`."""
    fields: dict[str, Any] = {key: getattr(document, key) for key in document.model_fields_set}
    private_key = document.private_key
    if private_key is not None:
        own = private_key.public_key()
        if document.public_key not in {None, own}:
            raise InputError(
                f"peer {name}: private_key is not the one of its public_key; give both of one pair"
            )
        fields["public_key"] = own
    for key in ("public_key", "private_key", "addresses"):
        if fields.get(key, ()) is None:  # as if it were not named
            del fields[key]
    return cast("NewPeerFields", fields)


def _differing(old: Peer, fields: NewPeerFields) -> PeerChanges:
    changes: dict[str, Any] = {}
    for key, value in fields.items():
        new: Any = value
        if key == "preshared_key":
            if value is True and old.preshared_key is not None:
                continue
            new = PresharedKey.generate() if value is True else value or None
        elif key == "client":
            new = _merged(old.client, cast("ClientOverrides", value))
        elif key == "private_key":
            # Whether it is kept is for the settings; alone it changes nothing.
            continue
        elif key == "groups":
            new = frozenset(fields["groups"])
        before = getattr(old, key)
        if set(new) != set(before) if key in _SETS else new != before:
            changes[key] = new
    if "public_key" in changes and "private_key" in fields:
        changes["private_key"] = fields["private_key"]
    return cast("PeerChanges", changes)


def _merged(old: ClientOverrides, named: ClientOverrides) -> ClientOverrides:
    return old.model_copy(update={key: getattr(named, key) for key in named.model_fields_set})


def _changes(old: Peer, changes: PeerChanges) -> Iterable[ValueChange]:
    for key, value in changes.items():
        yield ValueChange(key=key, old=_text(key, getattr(old, key)), new=_text(key, value))


def _values(new: NewPeer) -> Iterable[ValueChange]:
    for key, value in vars(new).items():
        if key != "name" and value != vars(NewPeer(new.name))[key]:
            yield ValueChange(key=key, old=None, new=_text(key, value))


def _text(key: str, value: object) -> str | None:
    """Say a value of a peer in words; None for none."""
    if value is None or (value is False and key in _SECRETS):
        return None
    if key in _SECRETS:
        return _SECRET
    if key == "endpoint":
        return str(Endpoint(*cast("tuple[str, int]", value)))
    if key == "expires_at":
        return utc_text(cast("datetime", value))
    if isinstance(value, ClientOverrides):
        said = value.model_dump(mode="json", exclude_none=True)
        return ", ".join(f"{name} {_words(each)}" for name, each in said.items()) or None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key in _SETS:
        return ", ".join(sorted(map(str, cast("Iterable[object]", value)))) or None
    return str(cast("PublicKey | str | int", value)) or None


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
