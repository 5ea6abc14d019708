"""When a name is looked up, and which of its addresses is taken; on a clock of the test's own."""

from dataclasses import dataclass

from wgbind.keys import PrivateKey, PublicKey
from wgbind.server.endpoint_names import EndpointNames, Name, is_name

KEY, OTHER = (PrivateKey.generate().public_key() for _ in range(2))
NAME = Name("site", "vpn.example.org", 51820)
FIRST, SECOND = ("192.0.2.1", 51820), ("192.0.2.2", 51820)


@dataclass
class Seen:
    """A peer as a device has it."""

    public_key: PublicKey = KEY
    endpoint: tuple[str, int] | None = None
    initiating_since: float | None = None


def resolved_once() -> EndpointNames:
    names = EndpointNames()
    names.want({KEY: NAME}, (), 0)
    assert names.due(0) == [(KEY, NAME)]
    assert names.resolved(KEY, NAME, [FIRST], 0) == FIRST
    return names


def fail(names: EndpointNames, at: float, endpoint: tuple[str, int] = FIRST) -> None:
    """Let initiations go unanswered from `at` on, until that is known."""
    for now in (at, at + 5):
        names.look([Seen(endpoint=endpoint, initiating_since=1000)], now)


def test_a_new_name_is_due_at_once_and_once() -> None:
    names = EndpointNames()
    names.want({KEY: NAME}, (), 7)
    assert names.pending()
    assert names.next_due() == 7
    assert names.due(7) == [(KEY, NAME)]
    assert names.due(8) == []
    assert names.resolved(KEY, NAME, [FIRST, SECOND], 8) == FIRST
    assert not names.pending()
    names.want({KEY: NAME}, (), 9)
    assert names.due(1e9) == []


def test_a_name_that_cannot_be_resolved_is_tried_later_and_later() -> None:
    names = EndpointNames()
    names.want({KEY: NAME}, (), 0)
    now, waits = 0.0, []
    for _ in range(7):
        assert names.due(now) == [(KEY, NAME)]
        assert names.resolved(KEY, NAME, "no such name", now) is None
        assert names.problems() == [
            "peer site: endpoint 'vpn.example.org' cannot be resolved: no such name"
        ]
        waits.append(names.next_due() - now)
        now = names.next_due()
    assert waits == [5, 10, 20, 40, 60, 60, 60]
    assert names.due(now)
    assert names.resolved(KEY, NAME, [FIRST], now) == FIRST
    assert names.problems() == []


def test_an_answer_leaves_the_name_alone() -> None:
    names = resolved_once()
    # It roamed, and initiations are answered in time.
    names.look([Seen(endpoint=SECOND, initiating_since=1000)], 10)
    names.look([Seen(endpoint=SECOND)], 12)
    names.look([Seen(endpoint=SECOND, initiating_since=1100)], 130)
    names.look([Seen(endpoint=SECOND, initiating_since=1200)], 260)
    assert names.due(262) == []


def test_silence_asks_again() -> None:
    names = resolved_once()
    names.look([Seen(endpoint=FIRST, initiating_since=1000)], 10)
    names.look([Seen(endpoint=FIRST, initiating_since=1000)], 14)
    assert names.due(14) == []
    names.look([Seen(endpoint=FIRST, initiating_since=1000)], 15)
    assert names.due(15) == [(KEY, NAME)]
    assert names.resolved(KEY, NAME, [SECOND], 15) == SECOND


def test_what_does_not_help_is_repeated_later_and_later() -> None:
    names = resolved_once()
    fail(names, 10)
    now, waits = 15.0, []
    for _ in range(6):
        assert names.due(now) == [(KEY, NAME)]
        assert names.resolved(KEY, NAME, [FIRST], now) is None
        before = now
        while not names.next_due() <= now:
            now += 1
            names.look([Seen(endpoint=FIRST, initiating_since=1000)], now)
        waits.append(now - before)
    assert waits == [5, 10, 20, 40, 60, 60]
    # An answer makes the next silence count from the beginning.
    names.resolved(*names.due(now)[0], [FIRST], now)
    names.look([Seen(endpoint=FIRST)], now + 1)
    fail(names, now + 2)
    assert names.due(now + 7) == [(KEY, NAME)]


def test_a_failing_lookup_while_nobody_answers_is_not_repeated_at_every_look() -> None:
    names = resolved_once()
    fail(names, 10)
    names.resolved(*names.due(15)[0], "the name server is away", 15)
    names.look([Seen(endpoint=FIRST, initiating_since=1000)], 17)
    assert names.due(17) == []
    assert names.due(20) == [(KEY, NAME)]
    assert names.resolved(KEY, NAME, [SECOND], 20) == SECOND


def test_each_address_has_its_turn() -> None:
    names = EndpointNames()
    names.want({KEY: NAME}, (), 0)
    names.due(0)
    both = [FIRST, SECOND]
    assert names.resolved(KEY, NAME, both, 0) == FIRST
    fail(names, 10, FIRST)
    assert names.resolved(*names.due(15)[0], both, 15) == SECOND
    fail(names, 100, SECOND)
    assert names.resolved(*names.due(105)[0], both, 105) == FIRST


def test_what_is_answered_meanwhile_stays() -> None:
    names = resolved_once()
    fail(names, 10)
    assert names.due(15)
    names.look([Seen(endpoint=SECOND)], 16)
    assert names.resolved(KEY, NAME, [FIRST], 17) is None


def test_names_come_and_go() -> None:
    names = resolved_once()
    other = Name("other", "other.example.org", 7)
    names.want({KEY: NAME, OTHER: other}, (), 20)
    assert names.due(20) == [(OTHER, other)]
    names.want({KEY: NAME}, (), 21)
    assert names.resolved(OTHER, other, [FIRST], 22) is None
    # A name that changed, and one whose peer lost its endpoint.
    changed = NAME._replace(port=7)
    names.want({KEY: changed}, (), 23)
    assert names.due(23) == [(KEY, changed)]
    assert names.resolved(KEY, NAME, [FIRST], 24) is None
    assert names.resolved(KEY, changed, [FIRST], 24) == FIRST
    names.want({KEY: changed}, {KEY}, 25)
    assert names.due(25) == [(KEY, changed)]


def test_names_are_told_from_addresses() -> None:
    assert [is_name(host) for host in ("192.0.2.1", "2001:db8::1", "localhost", "a.example")] == [
        *(False, False, True, True)
    ]
