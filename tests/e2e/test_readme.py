"""What the README tells a newcomer to type works as it stands there."""

import json
import re
import shlex
from pathlib import Path

from harness import Topology, Wgbind, program
from unit.help_texts import commands

README = Path(__file__).parents[2].joinpath("README.md").read_text()


def test_python_example_runs(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    code = code.replace('"wg0"', f'"{server.name}"')
    printed = topology.server.run([program("python"), "-c", code], env=server.env).stdout
    assert server.name in printed
    assert server.status()["state"] == "stopped"
    assert [peer["name"] for peer in server.peers()] == ["phone"]


def test_commands_exist() -> None:
    lines = [line for line in README.splitlines() if line.startswith("wgbind ")]
    named = {
        f"{group} {command}" if command.islower() else group
        for _, group, choices, *_ in map(shlex.split, lines)
        for command in choices.split("|")
    }
    assert len(named) >= 20
    assert {name.removesuffix(" [NAME]") for name in named} <= set(commands())


def test_files_are_where_it_says(topology: Topology, tmp_path: Path) -> None:
    server = Wgbind(topology.server, tmp_path)
    server.start()
    for folder, default in ((server.config, "/etc/wgbind"), (server.state, "/var/lib/wgbind")):
        for path in folder.iterdir():
            if not path.name.endswith(("-wal", "-shm")):
                written = path.name.replace(server.name, "NAME")
                assert f"`{default}/{written}`" in README
    tables = topology.server.run(["nft", "-j", "list", "tables"]).stdout
    names = [entry["table"] for entry in json.loads(tables)["nftables"] if "table" in entry]
    assert [f"{table['family']} {table['name']}" for table in names] == [
        f"inet wgbind_{server.name}"
    ]
