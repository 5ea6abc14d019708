"""How many packets of a kind reach a host."""

import contextlib
import json
from collections.abc import Callable, Iterator

from harness.names import interface_name
from harness.namespace import Namespace


@contextlib.contextmanager
def count_packets(namespace: Namespace, match: str) -> Iterator[Callable[[], int]]:
    """Count the packets that match, as they come in: before anybody's rules, NAT included.

    Args:
        namespace: The host.
        match: What nft(8) takes before a statement, such as `udp sport 51820`.

    Yields:
        A function that returns how many there were so far.
    """
    table = f"inet {interface_name()}"
    namespace.run(
        ["nft", "-f", "-"],
        text=f"""
            add table {table}
            add chain {table} seen {{ type filter hook prerouting priority -1000; }}
            add rule {table} seen {match} counter
        """,
    )

    def count() -> int:
        listing = namespace.run(["nft", "-j", "list", "table", *table.split()]).stdout
        (rule,) = (entry["rule"] for entry in json.loads(listing)["nftables"] if "rule" in entry)
        (packets,) = (part["counter"]["packets"] for part in rule["expr"] if "counter" in part)
        return int(packets)

    try:
        yield count
    finally:
        namespace.run(["nft", "delete", "table", *table.split()])
