"""Names that belong to this test process alone, and what is left under them."""

import itertools
import json
import secrets
import subprocess
from pathlib import Path

TOKEN = f"wgt{secrets.token_hex(3)}"
"""Prefix of every namespace and interface of this process (one per pytest-xdist worker)."""

CONTROL_SOCKETS = Path("/var/run/wireguard")
"""Where `wg` looks for interfaces that no kernel module serves; namespaces share it."""

_numbers = itertools.count()


def interface_name() -> str:
    """Return a new interface name (at most 15 characters) that nobody else uses."""
    return f"{TOKEN}{next(_numbers)}"


def namespace_name(role: str) -> str:
    """Return a new namespace name that says what the namespace plays."""
    return f"{TOKEN}-{role}{next(_numbers)}"


def leftovers() -> list[str]:
    """Return what this process's tests left behind: namespaces, interfaces, sockets, processes."""
    found = [f"namespace {name}" for name in namespaces() if name.startswith(TOKEN)]
    links = subprocess.run(["ip", "-j", "link"], check=True, capture_output=True, text=True)
    found += [
        f"interface {link['ifname']}"
        for link in json.loads(links.stdout)
        if link["ifname"].startswith(TOKEN)
    ]
    if CONTROL_SOCKETS.is_dir():
        found += [
            f"control socket {path}"
            for path in CONTROL_SOCKETS.iterdir()
            if path.name.startswith(TOKEN)
        ]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            argv = process.joinpath("cmdline").read_bytes()
        except OSError:
            continue  # it ended while we looked
        command = argv.replace(b"\0", b" ").decode(errors="replace")
        if TOKEN in command:
            found.append(f"process {process.name}: {command.strip()}")
    return found


def namespaces() -> list[str]:
    """Return the names of all network namespaces."""
    listing = subprocess.run(["ip", "-j", "netns"], check=True, capture_output=True, text=True)
    return [entry["name"] for entry in json.loads(listing.stdout or "[]")]
