"""Looks at a server, one after the other: rates, order, sparklines."""

from typing import Any

from wgbind import PrivateKey
from wgbind.api.status import PeerReport, ServerStatus
from wgbind.cli.watch import Watch, sparkline

KEYS = [PrivateKey.generate().public_key() for _ in range(3)]


def status(*counters: tuple[int, int] | None) -> ServerStatus:
    peers = [
        PeerReport(
            name=f"p{number}",
            public_key=KEYS[number],
            has_preshared_key=False,
            allowed_ips=(),
            persistent_keepalive=0,
            endpoint=None,
            state="never",
            rx_bytes=counts[0],
            tx_bytes=counts[1],
        )
        for number, counts in enumerate(counters)
        if counts is not None
    ]
    fields: dict[str, Any] = {"endpoint": None, "preset": (), "meaning": "", "egress": ()}
    return ServerStatus(
        name="wg0",
        state="running",
        public_key=KEYS[0],
        addresses=(),
        listen_port=1,
        mtu=1420,
        peers=tuple(peers),
        **fields,
    )


def test_rates_are_of_the_time_between_two_looks() -> None:
    seen = Watch()
    first = status((0, 0), (1000, 0), (7, 7))
    assert [peer.name for peer in seen.look(first, 10.0)] == ["p0", "p1", "p2"]
    second = status((0, 0), (1500, 100), (1007, 7))
    assert [peer.name for peer in seen.look(second, 12.0)] == ["p2", "p1", "p0"]
    traffic = seen.of(second.peers[1])
    assert (traffic.received, traffic.sent, traffic.total) == (250.0, 50.0, 300.0)
    assert list(traffic.rates) == [300.0]


def test_who_comes_goes_and_begins_anew() -> None:
    seen = Watch()
    seen.look(status((500, 0), (0, 0)), 0.0)
    again = status((100, 0), None, (9000, 0))
    seen.look(again, 1.0)
    assert seen.of(again.peers[0]).received == 100.0
    assert seen.of(again.peers[1]).received == 0.0
    assert str(KEYS[1]) not in seen.traffic


def test_sparklines() -> None:
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([0, 1, 2, 4, 8]) == "▁▂▃▅█"
    for number in range(100):
        seen = Watch()
        for at in range(number % 40):
            seen.look(status((at * at, 0)), float(at))
        rates = seen.traffic[str(KEYS[0])].rates if seen.traffic else []
        assert len(sparkline(list(rates))) <= 20
