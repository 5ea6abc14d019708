"""One thing that the doctor found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that stands in a server's way.

    Attributes:
        blocks: It keeps something from working; otherwise it may, or makes it slow.
        problem: What it is, and what does not work for it; one line.
        remedy: A command, or what else to do; one line.
    """

    blocks: bool
    problem: str
    remedy: str
