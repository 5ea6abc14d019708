"""Every code block of README and docs: commands and programs run, settings and documents are such.

The blocks of one document run one after the other, on a host of their own with one server. A
comment right before a block says what the reader does not see:

    <!-- run before: COMMAND -->     what has to be there; a line for each command
    <!-- run for: SECONDS s -->      a program that does not end by itself
    <!-- not run: REASON -->         what cannot run here
"""

import contextlib
import json
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import Topology, program
from wgbind.apply.document import Document
from wgbind.server.peer_csv import PeerTable
from wgbind.settings.model import ServerSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.joinpath("docs").glob("*.md"))]
RUN, CHECKED, PLAIN = {"console", "python"}, {"toml", "yaml", "json", "csv"}, {"text"}
MOST_SKIPPED = 10
"""Blocks that are not run, in all documents together."""

_BLOCK = re.compile(
    r"(?P<comments>(?:^<!--.*?-->\n)*)^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_DIRECTIVE = re.compile(r"<!-- (run before|run for|not run): (.*?) ?-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block, where it stands, and what the comments before it say."""

    path: Path
    line: int
    language: str
    text: str
    before: str
    seconds: str
    skipped: str

    def script(self, folder: Path) -> str:
        """Return what runs it, for bash."""
        lines = [f"echo '== {self.path.name}:{self.line}'", *self.before.splitlines()]
        if self.language == "python":
            file = folder / f"block{self.line}.py"
            file.write_text(self.text)
            commands = [f"{shlex.quote(program('python'))} {shlex.quote(str(file))}"]
        else:
            commands = list(typed(self.text))
            assert commands, f"{self.path}:{self.line}: no line begins with '# ' or '$ '"
        if self.seconds:
            *commands, last = commands
            ended = f"timeout -s INT {self.seconds.split()[0]} bash -c {shlex.quote(last)}"
            commands += [f"{ended} || test $? = 124"]
        return "\n".join([*lines, *commands, ""])


def typed(text: str) -> Iterator[str]:
    """Return the commands behind prompts; quotation marks and a backslash go on to next lines."""
    command = ""
    for line in text.splitlines():
        if command:
            command = f"{command}\n{line}"
        elif line[:2] in {"# ", "$ "}:
            command = line[2:]
        if command and not command.endswith("\\"):
            with contextlib.suppress(ValueError):  # no closing quotation yet
                shlex.split(command)
                yield command
                command = ""
    assert not command, command


def blocks(path: Path) -> list[Block]:
    text = path.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        said = dict(_DIRECTIVE.findall(match["comments"]))
        line = text.count("\n", 0, match.start("language")) + 1
        found.append(
            Block(
                *(path, line, match["language"], match["text"]),
                *(said.get(word, "") for word in ("run before", "run for", "not run")),
            )
        )
    assert len(found) * 2 == len(re.findall("^ *```", text, re.MULTILINE)), path
    return found


BLOCKS = [block for path in DOCUMENTS for block in blocks(path)]


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    kinds = RUN | CHECKED | PLAIN
    assert [block for block in BLOCKS if block.language not in kinds] == []
    skipped = [block for block in BLOCKS if block.skipped]
    assert all(len(block.skipped) > 10 for block in skipped)
    assert len(skipped) <= MOST_SKIPPED, "run them, or say them in words"


@pytest.mark.timeout(900)  # fifteen seconds, but for a machine that does much else
@pytest.mark.parametrize(
    "path",
    [path for path in DOCUMENTS if any(b.language in RUN and not b.skipped for b in blocks(path))],
    ids=lambda path: path.stem,
)
def test_commands_and_programs_run(topology: Topology, tmp_path: Path, path: Path) -> None:
    script = tmp_path / "script"
    parts = [each for each in blocks(path) if each.language in RUN and not each.skipped]
    script.write_text("".join(part.script(tmp_path) for part in parts))
    home = tmp_path / "home"
    home.mkdir()
    # The control socket of wg has one place for all hosts, so this one gets a /run of its own.
    command = "mount -t tmpfs tmpfs /run && mkdir -p /run/wireguard && cd ~ && exec bash -eu"
    bins = f"{Path(program('wgbind')).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    folders = {f"WGBIND_{kind.upper()}_DIR": str(tmp_path / kind) for kind in ("config", "state")}
    ran = topology.server.run(
        ["unshare", "--mount", "bash", "-c", f"{command} {script}"],
        env={"PATH": bins, "HOME": str(home), "LANG": "C.UTF-8", "TERM": "dumb", **folders},
        check=False,
        timeout=850,
    )
    assert ran.returncode == 0, f"{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"


@pytest.mark.parametrize(
    "block",
    [each for each in BLOCKS if each.language in CHECKED and not each.skipped],
    ids=lambda block: f"{block.path.stem}:{block.line}",
)
def test_settings_and_documents_are_such(block: Block, tmp_path: Path) -> None:
    if block.language == "csv":
        table = tmp_path / "table.csv"
        table.write_text(block.text)
        assert PeerTable(table).names
        return
    readers: dict[str, Any] = {"toml": tomllib.loads, "yaml": yaml.safe_load, "json": json.loads}
    data = readers[block.language](block.text)
    if set(data) <= {"settings", "peers"}:
        Document.of(data)
    elif block.language == "toml":
        interface = {"addresses": ["10.8.0.1/24", "fd08::1/64"]}
        ServerSettings.model_validate({"interface": interface, **data})
