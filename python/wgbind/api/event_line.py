"""An event on the wire: a line of server-sent events (the HTML standard, section 9.2)."""

from __future__ import annotations

from wgbind.api.event import PeerEvent

_FIELD = "data: "


def encode_event(event: PeerEvent) -> str:
    """Write an event."""
    return f"{_FIELD}{event.model_dump_json()}\n\n"


def decode(line: str) -> PeerEvent | None:
    """Read a line of what the server wrote; None if it has no event."""
    if not line.startswith(_FIELD):
        return None
    return PeerEvent.model_validate_json(line.removeprefix(_FIELD))
