"""A thousand peers are added, 500 changed, 500 removed: by commands, Python and documents."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.network import Network
from harness.wireguard_go import program

COUNT = 1000
CHANGED = 500
"""The first so many change, the rest is removed."""

KEPT, GONE = "kept-", "gone-"
"""What their names begin with."""

_SCRIPT = f"""
import sys
from ipaddress import ip_address
from wgbind import NewPeer, Server
peers = Server(sys.argv[1]).peers
lines = [line.split() for line in sys.stdin]
added = peers.add_many([NewPeer(name, addresses=[ip_address(at)]) for name, at in lines])
kept = [peer.name for peer in added if peer.name.startswith({KEPT!r})]
peers.update_many({{name: {{"description": "changed"}} for name in kept}})
peers.remove_many([peer.name for peer in added if peer.name not in kept])
"""


def by_command(network: Network, folder: Path) -> None:
    """Add them from a table, change and remove those whose name matches."""
    server = network.server
    table = folder / "peers.csv"
    table.write_text("name,address\n" + "".join(f"{name},{at}\n" for name, at in _peers(network)))
    server.peer("add", "--from", str(table), "--out", str(folder / "handed.zip"))
    server.peer("set", "--match", f"{KEPT}*", "--description", "changed")
    server.peer("remove", "--match", f"{GONE}*", "--yes")


def by_python(network: Network, folder: Path) -> None:
    """Let a program do it, with a transaction for each step."""
    script = folder / "provision.py"
    script.write_text(_SCRIPT)
    network.hosts.server.run(
        [program("python"), str(script), network.server.name],
        text="".join(f"{name} {at}\n" for name, at in _peers(network)),
        env=network.server.env,
        timeout=60,
    )


def by_document(network: Network, folder: Path) -> None:
    """Apply a document for each step."""
    server = network.server
    document = folder / "peers.json"
    others: dict[str, Any] = {peer["name"]: {} for peer in server.peers()}

    def apply(peers: dict[str, Any], *options: str) -> None:
        document.write_text(json.dumps({"peers": {**others, **peers}}))
        server.run("apply", str(document), "--server", server.name, *options)

    peers: dict[str, Any] = {name: {"addresses": [at]} for name, at in _peers(network)}
    apply(peers, "--out", str(folder / "handed.zip"))
    kept = {name: {"description": "changed"} for name in peers if name.startswith(KEPT)}
    apply({**peers, **kept})
    apply(kept, "--prune", "--yes")


WAYS: dict[str, Callable[[Network, Path], None]] = {
    "commands": by_command,
    "Python": by_python,
    "documents": by_document,
}


def _peers(network: Network) -> list[tuple[str, str]]:
    """Names, and addresses in the server's IPv6 network: its IPv4 one is a /24."""
    base = network.ipv6.rpartition("::")[0]
    return [
        (f"{KEPT if number < CHANGED else GONE}{number}", f"{base}::1:{number:x}")
        for number in range(COUNT)
    ]
