"""What became of a document, as it stands in JSON on the API's wire."""

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Self

from wgbind.api.peer_record import PeerRecord
from wgbind.apply.report import Applied, ApplyPlan


class AppliedRecord(BaseModel):
    """What a document changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: ApplyPlan
    added: tuple[PeerRecord, ...] = Field(
        description="The new peers, with their secrets: a private key that was made is here this "
        "once."
    )

    @classmethod
    def of(cls, applied: Applied) -> Self:
        """Write down what was changed."""
        added = tuple(PeerRecord.of(peer, secrets=True) for peer in applied.added)
        return cls(plan=applied.plan, added=added)

    def applied(self) -> Applied:
        """Return what was changed."""
        return Applied(self.plan, [record.peer() for record in self.added])
