"""Which peers options choose."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from wgbind import InputError, PrivateKey
from wgbind.api.status import PeerReport
from wgbind.server.selection import Selection
from wgbind.store.expiry import parse_past

NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)


def peer(name: str | None, **fields: Any) -> PeerReport:
    return PeerReport(
        name=name,
        public_key=PrivateKey.generate().public_key(),
        has_preshared_key=True,
        allowed_ips=(),
        persistent_keepalive=0,
        endpoint=None,
        **{"state": "never", **fields},
    )


PEERS = [
    peer("phone-a", groups=("staff",), state="connected", last_handshake=NOW),
    peer("phone-b", state="idle", last_handshake=NOW - timedelta(days=40)),
    peer("laptop", groups=("staff", "it"), created_at=NOW - timedelta(days=90)),
    peer("new", created_at=NOW - timedelta(days=1), expires_at=NOW + timedelta(days=3)),
    peer("gone", state="expired", expires_at=NOW - timedelta(days=3), created_at=NOW),
    peer(None, state="idle", last_handshake=NOW),
]


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        ({}, ["phone-a", "phone-b", "laptop", "new", "gone", None]),
        ({"pattern": "phone-*"}, ["phone-a", "phone-b"]),
        ({"pattern": "phone-[b-z]"}, ["phone-b"]),
        ({"pattern": "PHONE-*"}, []),
        ({"group": "staff"}, ["phone-a", "laptop"]),
        ({"group": "staff", "pattern": "l*"}, ["laptop"]),
        ({"states": frozenset({"idle", "expired"})}, ["phone-b", "gone", None]),
        ({"silent_since": NOW - timedelta(days=30)}, ["phone-b", "laptop"]),
        ({"expires_before": NOW}, ["gone"]),
        ({"expires_before": NOW + timedelta(days=30)}, ["new", "gone"]),
    ],
)
def test_all_conditions_hold(conditions: dict[str, Any], names: list[str | None]) -> None:
    chosen = Selection(**conditions)
    assert [each.name for each in chosen.of(PEERS)] == names
    assert bool(chosen) is bool(conditions)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30d", NOW - timedelta(days=30)),
        ("1h", NOW - timedelta(hours=1)),
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=timezone.utc)),
        ("2026-05-01T06:00:00Z", datetime(2026, 5, 1, 6, tzinfo=timezone.utc)),
        ("200000w", datetime(1970, 1, 1, tzinfo=timezone.utc)),
    ],
)
def test_moments_that_are_past(text: str, moment: datetime) -> None:
    assert parse_past(text, NOW) == moment


def test_what_is_no_moment() -> None:
    with pytest.raises(InputError, match="'lately' is no time; write a span such as 30d"):
        parse_past("lately", NOW)
