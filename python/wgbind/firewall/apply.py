"""From ruleset to kernel, through `nft`: one transaction, all or nothing, ours alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wgbind.errors import FirewallError, PrivilegeError
from wgbind.firewall.ruleset import FAMILY, table_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wgbind.firewall.ruleset import Json, Ruleset

STATE = frozenset({"handle", "packets", "bytes"})
"""What the kernel adds to an object: its handle, and what it counted."""

TIMEOUT = 30
"""Seconds for one run of nft, which takes milliseconds."""

SYSTEM_PATH = "/usr/sbin:/sbin"
"""Where nft is though a user's or a daemon's PATH may not say so."""


@dataclass(frozen=True)
class Counter:
    """What was dropped for one reason."""

    packets: int
    bytes: int


def apply(ruleset: Ruleset) -> bool:
    """Put a ruleset in force, in place of the interface's earlier one.

    Returns whether anything had to change. Raises `FirewallError` if there is no `nft` or it
    refuses, in which case nothing changed, or if the kernel does not have the rules afterwards;
    `PrivilegeError` without the right.
    """
    wanted = _Table.of([*ruleset.structure(), *ruleset.rules()])
    present = _read(ruleset.interface)
    if present == wanted:
        return False
    table = _table(ruleset.interface)
    commands = [{"add": table}]
    if present is not None and present.structure != wanted.structure:
        # Somebody else's work, or another version of wgbind's.
        commands += [{"delete": table}, {"add": table}]
    # Otherwise the chains stay in their hooks and exchange their rules at one moment. New chains
    # would not do, not even in one transaction: each is in its hook beside the old one, and a
    # packet could pass the new one before that moment, when it has no rules yet, and the old one
    # after it, when it has none any more.
    commands += [{"add": each} for each in ruleset.structure()]
    commands += [{"flush": table}, *({"add": each} for each in ruleset.rules())]
    _nft(commands)
    found = _read(ruleset.interface)
    # Another nft may print a rule otherwise than ours, but not more or fewer of them.
    if found is None or found.outline() != wanted.outline():
        raise FirewallError(
            f"nftables: table {FAMILY} {table_name(ruleset.interface)} is not what was applied; "
            "does another program change it?"
        )
    return True


def remove(interface: str) -> bool:
    """Remove an interface's table and return whether there was one.

    Raises `FirewallError`, `PrivilegeError`.
    """
    if _list(interface) is None:
        return False
    table = _table(interface)
    _nft([{"add": table}, {"delete": table}])  # adding what is there does nothing
    return True


def current(interface: str) -> dict[str, Counter] | None:
    """Return an interface's counters of dropped packets by name; None if it has no table.

    Raises `FirewallError`, `PrivilegeError`.
    """
    objects = _list(interface)
    if objects is None:
        return None
    counters = [each["counter"] for each in objects if "counter" in each]
    return {each["name"]: Counter(each["packets"], each["bytes"]) for each in counters}


@dataclass(frozen=True)
class _Table:
    """What stands in a table: counters and chains, in no order, and each chain's rules."""

    structure: list[object]
    rules: dict[str, list[object]]

    @classmethod
    def of(cls, objects: Iterable[Json]) -> _Table:
        structure: list[object] = []
        rules: dict[str, list[object]] = {}
        for each in objects:
            if "rule" in each:
                rules.setdefault(each["rule"]["chain"], []).append(_canonical(each))
            else:
                structure.append(_canonical(each))
        return cls(sorted(structure, key=json.dumps), rules)

    def outline(self) -> tuple[list[object], dict[str, int]]:
        return self.structure, {chain: len(rules) for chain, rules in self.rules.items()}


def _canonical(value: object) -> object:
    """Drop what the kernel adds to an object, and put what has no order into one."""
    if isinstance(value, list):
        return [_canonical(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: sorted(each, key=json.dumps) if key == "set" else _canonical(each)
        for key, each in sorted(value.items())
        if key not in STATE
    }


def _read(interface: str) -> _Table | None:
    objects = _list(interface)
    return None if objects is None else _Table.of(objects)


def _list(interface: str) -> list[Json] | None:
    """Return the objects in an interface's table as nft lists them; None if there is no table."""
    result = _run([{"list": _table(interface)}])
    if result.returncode != 0 and "No such file or directory" in result.stderr:
        return None
    _check(result)
    objects: list[Json] = json.loads(result.stdout)["nftables"]
    return [each for each in objects if not each.keys() & {"metainfo", "table"}]


def _table(interface: str) -> Json:
    return {"table": {"family": FAMILY, "name": table_name(interface)}}


def _nft(commands: list[Json]) -> None:
    """Run commands as one transaction."""
    _check(_run(commands))


def _run(commands: list[Json]) -> subprocess.CompletedProcess[str]:
    program = shutil.which("nft") or shutil.which("nft", path=SYSTEM_PATH)
    if program is None:
        raise FirewallError("nft: no such program; install nftables (apt install nftables)")
    try:
        return subprocess.run(
            [program, "-j", "-f", "-"],
            input=json.dumps({"nftables": commands}),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise FirewallError(f"nft: no answer in {TIMEOUT} seconds") from None
    except OSError as error:
        raise FirewallError(f"{program}: {error.strerror}") from None


def _check(result: subprocess.CompletedProcess[str]) -> None:
    if result.returncode == 0:
        return
    if "Operation not permitted" in result.stderr:
        raise PrivilegeError("nftables: needs CAP_NET_ADMIN; run it as root")
    # Before its reason nft says where in its input the problem is, which is of no use here.
    reason = result.stderr.strip().partition("\n")[0].rpartition("Error: ")[2]
    raise FirewallError(
        f"nftables: {reason or f'nft exited {result.returncode} and says not why; is this root?'}"
    )
