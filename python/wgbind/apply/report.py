"""What applying a document changes: the answer of `Server.plan` and of `Server.apply`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wgbind.store.peer import Peer

PeerFate: TypeAlias = Literal["added", "changed", "removed"]


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ValueChange(_Report):
    """A value that becomes another one.

    Attributes:
        key: Such as "policy.groups" of the settings, or "groups" of a peer.
        old: The value in words; None if there was none. A secret is "(secret)".
        new: Likewise.
    """

    key: str
    old: str | None
    new: str | None


class PeerPlan(_Report):
    """A peer that comes, changes or goes.

    Attributes:
        name: Its name.
        change: What becomes of it.
        values: The values that it gets.
    """

    name: str
    change: PeerFate
    values: tuple[ValueChange, ...] = ()


class ApplyPlan(_Report):
    """The difference between a document and what is.

    Attributes:
        created: Whether the server has no settings yet, so that they and its key are made.
        settings: Keys of the settings that change.
        peers: Peers that change, by name; those that go first.
        unchanged: How many peers the document names that are so already.
    """

    created: bool = False
    settings: tuple[ValueChange, ...] = ()
    peers: tuple[PeerPlan, ...] = ()
    unchanged: int = 0

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.created or bool(self.settings or self.peers)

    def names(self, fate: PeerFate) -> list[str]:
        """Return which peers come, change or go."""
        return [peer.name for peer in self.peers if peer.change == fate]


@dataclass(frozen=True)
class Applied:
    """What became of a document.

    Attributes:
        plan: What it changed.
        added: The new peers, with the private keys that were made for them.
    """

    plan: ApplyPlan
    added: Sequence[Peer] = ()
