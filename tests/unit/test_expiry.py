"""Dates until which a peer is served: how they are read, and who is served by the clock."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from math import inf

import pytest

from harness.peer import make_peer
from wgbind.errors import PeerError
from wgbind.server.expiry import Expiry
from wgbind.store.expiry import parse_expiry

NOW = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", "2026-02-03T04:06:36"),
        ("5m", "2026-02-03T04:10:06"),
        ("5min", "2026-02-03T04:10:06"),
        ("12h", "2026-02-03T16:05:06"),
        ("30d", "2026-03-05T04:05:06"),
        ("2w", "2026-02-17T04:05:06"),
        ("2026-12-31", "2027-01-01T00:00:00"),
        ("2026-12-31T18:00", "2026-12-31T18:00:00"),
        ("2026-12-31T18:00:05Z", "2026-12-31T18:00:05"),
        ("2026-12-31T18:00:05.250000+02:00", "2026-12-31T16:00:05"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    found = parse_expiry(text, NOW)
    assert found.tzinfo is timezone.utc
    assert found.replace(tzinfo=None).isoformat() == moment


@pytest.mark.parametrize(
    "text",
    ["", "30", "d", "-1d", "1y", "2026-02-30", "31.12.2026", "999999w", "²d", "1d\n"],
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(PeerError, match="30d"):
        parse_expiry(text, NOW)


def test_who_is_served_by_the_clock(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wgbind")
    now = datetime.now(timezone.utc)
    always, soon = make_peer(2), replace(make_peer(3), expires_at=now + timedelta(hours=1))
    gone = replace(make_peer(4), expires_at=now)
    disabled = replace(make_peer(5), enabled=False, expires_at=now)
    expiry = Expiry()
    assert expiry.seconds_left() == inf
    for _ in range(2):
        assert expiry.served([always, soon, gone, disabled]) == [always, soon]
    assert 3590 < expiry.seconds_left() <= 3600
    assert not caplog.records
    assert [expiry.take_expired() for _ in range(2)] == [[gone], []]
    (record,) = caplog.records
    assert "p4" in record.getMessage()
    # As after the clock was set back: its date lies ahead again.
    later = replace(gone, expires_at=now + timedelta(minutes=1))
    assert expiry.served([always, later]) == [always, later]
    assert 50 < expiry.seconds_left() <= 60
