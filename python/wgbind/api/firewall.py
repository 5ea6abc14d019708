"""What the firewall of a server does, and would do: answers of `Server.firewall` and of the API."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from wgbind.settings.policy import PolicySettings


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RuleReport(_Report):
    """A rule in force, the preset's too, or a forward.

    Attributes:
        number: Its place, from 1 on; the first rule that matches decides.
        text: The rule itself.
        name: Its name; "preset NAME" for a preset's.
        packets: Connections' first packets that it decided; None if the server is stopped.
        bytes: Their bytes; None likewise.
    """

    number: int
    text: str
    name: str | None = None
    packets: int | None = None
    bytes: int | None = None


class FirewallReport(_Report):
    """The firewall of a server.

    Attributes:
        running: Whether the rules are in force; if not, they are those of the settings file.
        policy: The section [policy] that they come from.
        egress: The interfaces to the internet; None for any.
        meaning: What the presets mean, in a line.
        refused: Packets that were dropped though no rule denied them, by reason.
    """

    name: str
    running: bool
    policy: PolicySettings
    egress: tuple[str, ...] | None
    meaning: str
    rules: tuple[RuleReport, ...]
    forwards: tuple[RuleReport, ...]
    refused: dict[str, int] = {}


class FindingReport(_Report):
    """A mistake in the settings, or what is allowed there and most likely not meant.

    Attributes:
        severity: An error is refused, with it all the settings; a warning is applied.
        place: "FILE:LINE".
        message: The key, the value and the remedy.
    """

    severity: Literal["error", "warning"]
    place: str
    message: str


class RuleChangeReport(_Report):
    """A rule that goes or comes; `number` is its place among the old or the new ones."""

    change: Literal["added", "removed"]
    number: int
    text: str
    name: str | None


class ReachChangeReport(_Report):
    """What one place gains and loses of another; "nothing" if it does not."""

    source: str
    destination: str
    gained: str
    lost: str


class PlanReport(_Report):
    """What the settings file would change of what runs.

    Attributes:
        running: Whether the server runs; if not, the file is compared to nothing allowed.
        rules: Rules that go or come.
        other: Whatever else differs, a line each.
        reach: Who could begin what, and who could not any more.
    """

    running: bool
    rules: tuple[RuleChangeReport, ...]
    other: tuple[str, ...]
    reach: tuple[ReachChangeReport, ...]


class ExplanationReport(_Report):
    """What becomes of a connection, and why.

    Attributes:
        allowed: Whether it passes.
        source: Where it begins: the end in words, with its address.
        destination: Where it ends, behind a forward.
        service: Such as "tcp/22".
        reason: Which rule decides, or why none does.
        rule: Its number and text, if one decides.
        nat: Whether it leaves with this host's address.
        path: How the packets go if they pass: inside the process, or by the kernel.
        remarks: What else stands in the way or is to be known.
    """

    allowed: bool
    source: str
    destination: str
    service: str
    reason: str
    rule: RuleReport | None = None
    nat: bool = False
    path: Literal["process", "kernel"]
    remarks: tuple[str, ...] = ()
