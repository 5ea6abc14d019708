"""What is measured: a scenario runs one server program with one client program, once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Figures = Mapping[str, float]
"""Figures by name; a name ends with its unit in brackets."""


@dataclass(frozen=True)
class Pair:
    """Programs at the two ends.

    Attributes:
        server: The measured program.
        client: The program of all clients; scenarios with generated clients do not use it.
    """

    server: str
    client: str

    def __str__(self) -> str:
        return f"{self.server} <- {self.client}"


@dataclass(frozen=True)
class Scenario:
    """One thing to measure.

    Attributes:
        name: What it is called on the command line.
        run: Measures a pair; the second argument is how many seconds each part lasts.
        pairs: Whom it is measured for; the first one is what the others are compared with.
    """

    name: str
    run: Callable[[Pair, float], Figures]
    pairs: tuple[Pair, ...]


GO, WGBIND, HUB = "wireguard-go", "wgbind-device", "wgbind-hub"
WGBIND_SERVER = "wgbind server"
GOTATUN, BORINGTUN = "gotatun", "boringtun-cli"

BOTH_ENDS = (Pair(GO, GO), Pair(WGBIND, WGBIND), Pair(WGBIND, GO), Pair(GO, WGBIND))
OTHERS = (Pair(GOTATUN, GO), Pair(BORINGTUN, GO))
SERVERS = (Pair(GO, "load"), Pair(WGBIND, "load"), Pair(GOTATUN, "load"))
