"""What happens to peers: the items of `Server.events` and of the API's stream."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from wgbind.api.wire import WirePublicKey


class PeerEvent(BaseModel):
    """Something that happened to one peer.

    Attributes:
        at: UTC.
        kind: "added", "changed", "removed": its configuration, in the store or by `wg`.
            "connected": a handshake was completed, the first since the peer was added or silent;
            "rekeyed": another one. "roamed": its messages come from another endpoint; told of at
            most once a second. "silent": no authenticated message for 180 s, or new keys ended
            its sessions.
        cause: What brought it about: a handshake that the peer or the server began, a message,
            a change of the configuration, by the server or at the control socket, or time.
        name: None for a peer that the store does not know yet: somebody added it with `wg`.
        endpoint: "address:port" where it is, or was last.
        previous_endpoint: Where it was before it roamed.
        lost: How many events right before this one were lost, because the reader was too slow.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    at: datetime
    kind: Literal["added", "changed", "removed", "connected", "rekeyed", "roamed", "silent"]
    cause: Literal[
        "configuration", "control_socket", "peer_handshake", "own_handshake", "message", "timeout"
    ]
    name: str | None
    public_key: WirePublicKey
    endpoint: str | None = None
    previous_endpoint: str | None = None
    lost: int = 0

    def __str__(self) -> str:
        """Say it in a line, without its time."""
        return f"{self.name or self.public_key} {self._predicate()}"

    def _predicate(self) -> str:
        match self.kind:
            case "connected":
                return f"connected from {self.endpoint}"
            case "rekeyed":
                return "renewed its session"
            case "roamed":
                return f"roamed from {self.previous_endpoint} to {self.endpoint}"
            case "silent":
                return "is silent"
            case _:
                return f"was {self.kind}"
