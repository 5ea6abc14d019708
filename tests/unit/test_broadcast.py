"""Events on their way to many readers: whoever is slow loses the oldest, and holds up nobody."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timezone
from pathlib import Path
from threading import Thread
from typing import cast

import pytest

from wgbind.api.access import Access
from wgbind.api.app import make_app
from wgbind.api.broadcast import MAX_WAITING, Broadcast, Subscription
from wgbind.api.connection import Gate
from wgbind.api.event import PeerEvent
from wgbind.api.event_line import decode
from wgbind.api.event_source import encode
from wgbind.api.event_stream import EventStream
from wgbind.api.firewall import FirewallReport
from wgbind.api.listener import UnixListener
from wgbind.api.peers import Peers
from wgbind.api.status import ServerInfo, ServerStatus
from wgbind.apply.document import Document
from wgbind.apply.report import Applied, ApplyPlan
from wgbind.keys import PrivateKey

KEY = PrivateKey.generate().public_key()


def make_events(first: int, count: int) -> list[PeerEvent]:
    """Make events that have numbers for names."""
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return [
        PeerEvent(at=at, kind="changed", cause="configuration", name=str(number), public_key=KEY)
        for number in range(first, first + count)
    ]


def names(events: list[PeerEvent]) -> list[int]:
    return [int(event.name or "") for event in events]


def test_a_full_subscription_loses_the_oldest_and_says_how_many() -> None:
    woken: list[bool] = []
    subscription = Subscription(lambda: woken.append(True))
    subscription.put(make_events(0, MAX_WAITING))
    subscription.put(make_events(MAX_WAITING, 3))
    assert len(woken) == 2
    taken = subscription.take()
    assert names(taken) == list(range(3, MAX_WAITING + 3))
    assert [event.lost for event in taken[:2]] == [3, 0]
    assert subscription.take() == []
    subscription.put(make_events(0, 1))
    assert subscription.take()[0].lost == 0


def test_what_was_lost_before_an_event_that_is_lost_counts_too() -> None:
    subscription = Subscription(lambda: None)
    first, *others = make_events(0, MAX_WAITING + 1)
    subscription.put([first.model_copy(update={"lost": 7}), *others])
    assert subscription.take()[0].lost == 8


def test_each_subscription_is_told_from_its_beginning_to_its_end() -> None:
    broadcast = Broadcast()
    with broadcast.subscribe(lambda: None) as one:
        broadcast.publish(make_events(0, 1))
        with broadcast.subscribe(lambda: None) as other:
            broadcast.publish(make_events(1, 1))
        broadcast.publish(make_events(2, 1))
        assert (names(one.take()), names(other.take())) == ([0, 1, 2], [1])
        assert not one.ended
        broadcast.close()
        assert (one.ended, other.ended) == (True, False)
    with broadcast.subscribe(lambda: None) as late:
        assert late.ended


def test_what_is_told_right_before_the_end_is_written() -> None:
    broadcast = Broadcast()

    async def follow() -> list[PeerEvent]:
        written = encode(broadcast)
        assert await anext(written) == ": listening\n\n"
        broadcast.publish(make_events(0, 1))
        first = await anext(written)
        # While the first is on its way, another comes, and the end.
        broadcast.publish(make_events(1, 1))
        broadcast.close()
        lines = [first, *[more async for more in written]]
        return [event for line in lines for event in [decode(line.strip())] if event]

    assert names(asyncio.run(follow())) == [0, 1]
    # Whoever comes when all is over waits for nothing.
    assert names(asyncio.run(_all(encode(broadcast)))) == []


async def _all(written: AsyncIterator[str]) -> list[PeerEvent]:
    return [event async for line in written for event in [decode(line.strip())] if event]


class OnlyEvents:
    """A node that has nothing but events."""

    def __init__(self) -> None:
        self.events = Broadcast()

    @property
    def peers(self) -> Peers:
        return cast("Peers", None)

    @property
    def problems(self) -> tuple[str, ...]:
        raise NotImplementedError

    def info(self, endpoint: str | None = None) -> ServerInfo:
        raise NotImplementedError

    def status(self) -> ServerStatus:
        raise NotImplementedError

    def firewall(self) -> FirewallReport:
        raise NotImplementedError

    def plan(self, document: Document, *, prune: bool = False) -> ApplyPlan:
        raise NotImplementedError

    def apply(self, document: Document, *, prune: bool = False) -> Applied:
        raise NotImplementedError

    def converge(self) -> tuple[str, ...]:
        raise NotImplementedError

    def reload(self) -> tuple[str, ...]:
        raise NotImplementedError


@pytest.fixture
def node() -> OnlyEvents:
    return OnlyEvents()


@pytest.fixture
def gate(node: OnlyEvents, tmp_path: Path) -> Iterator[Gate]:
    """The socket that the node listens on."""
    path = tmp_path / "api.sock"
    listener = UnixListener(make_app(node), path, Access(frozenset({os.geteuid()})))
    listener.start()
    yield Gate(path)
    node.events.close()
    listener.close()


def test_a_stream_that_nobody_reads_stalls_no_other(node: OnlyEvents, gate: Gate) -> None:
    count, step, lead = 5 * MAX_WAITING, 1024, MAX_WAITING // 2
    with EventStream(gate) as slow, EventStream(gate) as quick:
        read: list[PeerEvent] = []

        def follow() -> None:
            for event in quick:
                read.append(event)  # noqa: PERF402 (the others look at how far it is)

        reader = Thread(target=follow)
        reader.start()
        started = time.monotonic()
        for first in range(0, count, step):
            node.events.publish(make_events(first, step))
            while len(read) < first - lead:
                assert time.monotonic() - started < 100
                time.sleep(0.001)
        while len(read) < count:
            assert time.monotonic() - started < 100
            time.sleep(0.001)
        assert names(read) == list(range(count))
        assert not any(event.lost for event in read)

        expected = 0
        for event in slow:
            expected += event.lost
            assert names([event]) == [expected]
            expected += 1
            if expected == count:
                break
        assert expected == count
        node.events.close()
        reader.join(60)
        assert not reader.is_alive()
        assert list(slow) == []


def test_who_hangs_up_is_told_no_more(node: OnlyEvents, gate: Gate) -> None:
    streams = [EventStream(gate) for _ in range(3)]
    for stream in streams:
        stream.close()
    deadline = time.monotonic() + 60
    while node.events.subscriptions():
        assert time.monotonic() < deadline
        time.sleep(0.01)
