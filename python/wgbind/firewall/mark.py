"""Marks of connections that leave by a way of their own, for the routing rules to know them by.

A connection keeps the way that its first packet had: that which the settings give the group of the
peer who began it, or the uplink by which it came in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wgbind.firewall import expression
from wgbind.firewall.expression import ACCEPT, State
from wgbind.firewall.population import VERSIONS
from wgbind.firewall.table import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wgbind.firewall.frame import Frame

NEW = expression.ct_state(State.NEW)


def ways(frame: Frame) -> Iterator[Rule]:
    """Mark what peers begin, and give each packet of peers the mark of its connection.

    That comes before the kernel looks for its route, and after it looked up its connection.
    """
    marks = frame.marks
    if not (marks.groups or marks.uplinks):
        return
    yield Rule(expression.interface("source", frame.interface, equal=False) + ACCEPT)
    for group, mark in reversed(marks.groups):  # who is in several goes by the first of them
        for version in VERSIONS:
            for name in frame.members.get(("group", group, version), ()):
                whose = expression.address_in("source", version, name)
                match = NEW + expression.family(version) + whose
                yield Rule(match + expression.mark_connection(mark))
    yield Rule(expression.MARK_LIKE_CONNECTION)


def arrivals(frame: Frame) -> Iterator[Rule]:
    """Mark what other networks begin with peers by the uplink where it came in."""
    for uplink, mark in frame.marks.uplinks:
        match = expression.interface("source", uplink) + NEW
        yield Rule(match + expression.mark_connection(mark))
