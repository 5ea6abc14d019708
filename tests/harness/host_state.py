"""All that a server may change on its host, to compare before and after."""

import hashlib
import json
from pathlib import Path
from typing import Any

from harness.namespace import Namespace
from harness.wait import wait_until

_SETTINGS = r"forwarding|ip_forward|accept_ra$|rp_filter|src_valid_mark"


def host_state(namespace: Namespace) -> dict[str, Any]:
    """Return the host's interfaces, addresses, routes, rules, nftables and kernel settings.

    What the kernel gives links by itself, a moment after they are up, is waited for.
    """
    wait_until(lambda: not any(map(_lacks, namespace.ip_json("address"))), "link-local addresses")
    # Without what was counted, which goes on by itself: by reports of multicast groups, say.
    # (nft 1.0.6 leaves it out of rules for `-s`, but in JSON not out of counters with a name.)
    ruleset = json.loads(namespace.run(["nft", "-js", "list", "ruleset"]).stdout)["nftables"]
    for entry in ruleset:
        if "counter" in entry:
            entry["counter"] |= {"packets": 0, "bytes": 0}
    return {
        "addresses": namespace.ip("-o", "address").splitlines(),
        "routes": sorted(namespace.ip("route", "show", "table", "all").splitlines()),
        "routes6": sorted(namespace.ip("-6", "route", "show", "table", "all").splitlines()),
        "rules": namespace.ip("rule").splitlines() + namespace.ip("-6", "rule").splitlines(),
        "nftables": [entry for entry in ruleset if "metainfo" not in entry],
        "sysctls": namespace.run(["sysctl", "-a", "-r", _SETTINGS]).stdout.splitlines(),
    }


def _lacks(link: dict[str, Any]) -> bool:
    """Whether an Ethernet interface has no link-local address yet, and no IPv6 routes with it."""
    addresses = [address for address in link["addr_info"] if address["family"] == "inet6"]
    return (
        link["link_type"] == "ether"
        and {"UP", "LOWER_UP"} <= set(link["flags"])
        and not any(each["scope"] == "link" and "tentative" not in each for each in addresses)
    )


def files(folder: Path) -> dict[str, str]:
    """Return the digest of each file under `folder`, but for locks, logs and SQLite's journal."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith((".lock", ".log", "-wal", "-shm"))
    }
