"""The section [wg_quick]: what a file of wg-quick(8) said that no other setting says."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StrictBool

from wgbind.settings.section import Section


def _one_line(value: str) -> str:
    if not value.strip() or not value.replace("\t", " ").isprintable() or "#" in value:
        raise ValueError(f"{value!r} is not one line of text without #")
    return value


def _line(value: str) -> str:
    if not value.replace("\t", " ").isprintable():
        raise ValueError(f"{value!r} is not one line of text")
    return value


_Commands = tuple[Annotated[str, AfterValidator(_one_line)], ...]


class WgQuickSettings(Section):
    """What a file of wg-quick(8) said that no other setting says; an export says it again."""

    run_hooks: StrictBool = Field(
        default=False,
        description="Run the commands below as root when the server starts and stops, as "
        "wg-quick(8) does; %i is the interface's name.",
    )
    pre_up: _Commands = Field(default=(), description="Before the interface gets its key.")
    post_up: _Commands = Field(default=(), description="When the server works.")
    pre_down: _Commands = Field(default=(), description="Before the server stops.")
    post_down: _Commands = Field(default=(), description="When the interface is gone.")
    dns: _Commands = Field(
        default=(), description="Name servers and domains for this host; wgbind sets none."
    )
    table: Annotated[str, AfterValidator(_one_line)] | None = Field(
        default=None,
        description="wg-quick's Table; routing.table is wgbind's.",
        examples=["off"],
    )
    save_config: StrictBool | None = Field(
        default=None,
        description="wg-quick's SaveConfig; wgbind keeps what wg changes in any case.",
        examples=[True],
    )
    layout: tuple[Annotated[str, AfterValidator(_line)], ...] = Field(
        default=(), description="How its section [Interface] was written; * stands for a secret."
    )

    @property
    def hooks(self) -> dict[str, tuple[str, ...]]:
        """The commands by wg-quick's keys."""
        return {
            "PreUp": self.pre_up,
            "PostUp": self.post_up,
            "PreDown": self.pre_down,
            "PostDown": self.post_down,
        }
