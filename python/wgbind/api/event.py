"""What happens to peers, and to a server: the items of `Server.events` and of the API's stream."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from wgbind.api.wire import WirePublicKey


class PeerEvent(BaseModel):
    """Something that happened to one peer, or a limit that the server reached.

    Attributes:
        at: UTC.
        kind: "expired": its date has come; then it is "removed". "limit": there is no more of
            something, for whichever peer. "added", "changed", "removed": its configuration, in
            the store or by `wg`. "connected": a handshake was completed, the first since the peer
            was added or silent; "rekeyed": another one. "roamed": its messages come from another
            endpoint; told of at most once a second. "silent": no authenticated message for 180 s,
            or another private key of the server ended its sessions.
        cause: What brought it about: a handshake that the peer or the server began, a message,
            a change of the configuration, by the server or at the control socket, time without
            messages, or its date. Of a limit, what there is no more of: "addresses" to give out,
            "connections" that a peer may begin, "handshakes" that are answered.
        name: None for a peer that the store does not know yet: somebody added it with `wg`; and
            for a limit.
        public_key: None for a limit.
        detail: What limit was reached, in words; else None.
        endpoint: "address:port" where it is, or was last.
        previous_endpoint: Where it was before it roamed.
        lost: How many events right before this one were lost, because the reader was too slow.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    at: datetime
    kind: Literal[
        "added",
        "changed",
        "removed",
        "connected",
        "rekeyed",
        "roamed",
        "silent",
        "expired",
        "limit",
    ]
    cause: Literal[
        "configuration",
        "control_socket",
        "peer_handshake",
        "own_handshake",
        "message",
        "timeout",
        "date",
        "addresses",
        "connections",
        "handshakes",
    ]
    name: str | None
    public_key: WirePublicKey | None
    endpoint: str | None = None
    previous_endpoint: str | None = None
    detail: str | None = None
    lost: int = 0

    def __str__(self) -> str:
        """Say it in a line, without its time."""
        if self.kind == "limit":
            return f"limit reached: {self.detail}"
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
            case "expired":
                return "expired"
            case _:
                return f"was {self.kind}"
