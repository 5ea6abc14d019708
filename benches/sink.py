"""A sink for UDP: it counts what arrives and drops it before the kernel works for it."""

import json
from dataclasses import dataclass

from harness import Namespace


@dataclass(frozen=True)
class Sink:
    """A counting nftables rule.

    Attributes:
        namespace: Where it counts.
        payload: UDP payload bytes of each datagram that it is meant for.
    """

    namespace: Namespace
    payload: int

    @classmethod
    def open(cls, namespace: Namespace, match: str, payload: int) -> "Sink":
        """Count and drop what `match`, an nftables expression, matches."""
        namespace.run(["nft", "-f", "-"], text=_RULESET.replace("MATCH", match))
        return cls(namespace, payload)

    def datagrams(self) -> int:
        """Return how many arrived: the kernel counts a train of them as one packet."""
        listing = self.namespace.run(["nft", "-j", "list", "counter", "inet", "sink", "arrived"])
        (counter,) = (
            entry["counter"]
            for entry in json.loads(listing.stdout)["nftables"]
            if "counter" in entry
        )
        headers = 20 + 8
        return int((counter["bytes"] - headers * counter["packets"]) // self.payload)


_RULESET = """
table inet sink {
    counter arrived { }
    chain arriving {
        type filter hook prerouting priority raw;
        MATCH counter name arrived drop
    }
}
"""
