"""`wgbind server status --watch`: a live view of a server, or frames of text in a pipe."""

from __future__ import annotations

import itertools
import os
import select
import sys
import termios
import time
import tty
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from wgbind.cli.output import ago, print_table, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from wgbind.api.status import PeerReport, ServerStatus

_BARS = "▁▂▃▄▅▆▇█"
_HISTORY = 20  # moments of a sparkline
_ROWS = 50  # peers in a frame of a pipe
_ENDING = {"q", "Q", "\x04"}  # the last is Ctrl-D


@dataclass
class Traffic:
    """What one peer received and sent, in bytes a second, the newest last."""

    rates: deque[float] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    received: float = 0.0
    sent: float = 0.0

    @property
    def total(self) -> float:
        """Both ways together, at the last look."""
        return self.received + self.sent


class Watch:
    """Successive looks at a server, and what changed between them."""

    def __init__(self) -> None:
        self.traffic: dict[str, Traffic] = {}
        self._before: dict[str, tuple[int, int]] = {}
        self._at: float | None = None

    def look(self, status: ServerStatus, at: float) -> list[PeerReport]:
        """Take in a status at a moment, in seconds; return its peers, the busiest first.

        Counters that went back (the server started anew, a peer got new keys) count from zero.
        """
        elapsed = None if self._at is None else at - self._at
        self._at = at
        now: dict[str, tuple[int, int]] = {}
        for peer in status.peers:
            key = str(peer.public_key)
            counts = now[key] = (peer.rx_bytes or 0, peer.tx_bytes or 0)
            traffic = self.traffic.setdefault(key, Traffic())
            before = self._before.get(key, counts)
            if elapsed:
                grown = [
                    new - old if new >= old else new
                    for new, old in zip(counts, before, strict=True)
                ]
                traffic.received, traffic.sent = (each / elapsed for each in grown)
                traffic.rates.append(traffic.total)
        self._before = now
        self.traffic = {key: self.traffic[key] for key in now}
        return sorted(status.peers, key=self._order)

    def of(self, peer: PeerReport) -> Traffic:
        """Return the traffic of a peer of the last look."""
        return self.traffic[str(peer.public_key)]

    def _order(self, peer: PeerReport) -> tuple[float, float]:
        seen = 0.0 if peer.last_handshake is None else peer.last_handshake.timestamp()
        return -self.of(peer).total, -seen


def sparkline(values: Sequence[float]) -> str:
    """Draw values as bars, the largest full; nothing for no traffic at all."""
    top = max(values, default=0.0)
    if top == 0:
        return _BARS[0] * len(values)
    return "".join(_BARS[min(len(_BARS) - 1, int(each / top * len(_BARS)))] for each in values)


def watch(
    status: Callable[[], ServerStatus], interval: float, count: int | None, *, as_json: bool
) -> None:
    """Show what `status` returns, every `interval` seconds, `count` times or until a key ends it.

    On a terminal the screen is drawn anew, and q or Ctrl-C ends it; elsewhere each look is a frame
    of text, with a line between two. As JSON, each is a line.
    """
    show = _lines if as_json else _live if sys.stdout.isatty() else _frames
    with suppress(KeyboardInterrupt):  # which is how it is meant to end
        show(status, interval, count)


def _lines(status: Callable[[], ServerStatus], interval: float, count: int | None) -> None:
    for number in itertools.count(1):
        typer.echo(status().model_dump_json())
        if number == count:
            return
        time.sleep(interval)


def _frames(status: Callable[[], ServerStatus], interval: float, count: int | None) -> None:
    seen = Watch()
    for number in itertools.count(1):
        found = status()
        peers = seen.look(found, time.monotonic())
        for line in _head(found):
            typer.echo(line)
        print_table(_HEADER, [_row(peer, seen.of(peer)) for peer in peers[:_ROWS]])
        if len(peers) > _ROWS:
            typer.echo(f"... and {len(peers) - _ROWS} more")
        if number == count:
            return
        time.sleep(interval)
        typer.echo()


def _live(status: Callable[[], ServerStatus], interval: float, count: int | None) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(markup=False, emoji=False, highlight=False)
    seen = Watch()
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        for number in itertools.count(1):
            found = status()
            peers = seen.look(found, time.monotonic())
            live.update(_screen(found, peers, seen, console.height), refresh=True)
            if number == count or pressed(interval) & _ENDING:
                return


def _screen(
    status: ServerStatus, peers: Sequence[PeerReport], seen: Watch, height: int
) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = _head(status)
    room = max(1, height - len(head) - 4)
    table = Table(*_HEADER, box=None, pad_edge=False, expand=True)
    for column in table.columns:
        column.no_wrap = True
    for peer in peers[:room]:
        table.add_row(*map(Text, _row(peer, seen.of(peer))), style=_STYLES.get(peer.state, ""))
    more = f"... and {len(peers) - room} more; " if len(peers) > room else ""
    return Group(*map(Text, head), Text(), table, Text(f"{more}q ends", style="dim"))


_HEADER = ("PEER", "STATE", "TRAFFIC", "RECEIVED/S", "SENT/S", "LAST HANDSHAKE", "ENDPOINT")
_STYLES = {"connected": "bold", "disabled": "dim", "expired": "dim", "never": "dim"}


def _row(peer: PeerReport, traffic: Traffic) -> tuple[str, ...]:
    return (
        peer.name or f"({peer.public_key})",
        peer.state,
        sparkline(traffic.rates),
        size(round(traffic.received)),
        size(round(traffic.sent)),
        ago(peer.last_handshake),
        peer.endpoint or "-",
    )


def _head(status: ServerStatus) -> list[str]:
    from wgbind.cli.server import headline

    connected = sum(peer.state == "connected" for peer in status.peers)
    return [
        headline(status),
        f"  peers    {connected} of {len(status.peers)} connected",
        f"  dropped  {_counts(status.drops)}",
        f"  refused  {_counts(status.refused)}",
        *(f"  problem  {problem}" for problem in status.problems),
    ]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items() if count) or "nothing"


def _wait(seconds: float) -> set[str]:
    time.sleep(seconds)
    return set()


@contextmanager
def _keys() -> Iterator[Callable[[float], set[str]]]:
    """Give a function that waits for keys, so many seconds, and returns those pressed."""
    descriptor = sys.stdin.fileno()
    if not os.isatty(descriptor):
        yield _wait
        return
    before = termios.tcgetattr(descriptor)

    def pressed(seconds: float) -> set[str]:
        if not select.select([descriptor], [], [], seconds)[0]:
            return set()
        found = os.read(descriptor, 64)
        # An empty read: the terminal is gone.
        return set(found.decode("ascii", "replace")) if found else _ENDING

    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
