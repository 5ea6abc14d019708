"""Until when a peer is served: dates as people write them."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone

from wgbind.errors import PeerError

_SPAN = re.compile(r"(\d{1,6})(min|[smhdw])")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BEGINNING = datetime(1970, 1, 1, tzinfo=timezone.utc)  # nothing was before
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def parse_expiry(text: str, now: datetime) -> datetime:
    """Read a moment, in UTC and to the second.

    Taken are a span from `now` on ("30d"; s, m or min, h, d, w), a day ("2026-12-31": through its
    end, in UTC) and a time in ISO 8601 (in UTC unless it says otherwise). Raises `PeerError`.
    """
    try:
        span = _SPAN.fullmatch(text)
        if span is not None:
            seconds = int(span[1]) * _SECONDS[span[2]]
            return (now + timedelta(seconds=seconds)).replace(microsecond=0)
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text) + timedelta(days=1)
            return datetime.combine(day, time(), timezone.utc)
        # Python 3.10 does not know the letter.
        moment = datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise PeerError(
            f"{text!r} is no time; write a span such as 30d or 12h, a day such as 2026-12-31, or a "
            "time such as 2026-12-31T18:00:00Z"
        ) from None


def utc_text(moment: datetime) -> str:
    """Write a moment in UTC as ISO 8601 does, to the second."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_past(text: str, now: datetime) -> datetime:
    """Read a moment that is past: as `parse_expiry`, but a span is before `now`, a day its start.

    Raises `PeerError`.
    """
    moment, this = parse_expiry(text, now), now.replace(microsecond=0)
    if _SPAN.fullmatch(text):
        return this - min(moment - this, this - _BEGINNING)
    return moment - timedelta(days=1) if _DATE.fullmatch(text) else moment
