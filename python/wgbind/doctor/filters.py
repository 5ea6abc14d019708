"""Packet filters of others that drop what a server needs, and what makes them let it pass.

To let it pass there opens nothing: what comes from the tunnel or goes there still has to pass the
server's own table.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from wgbind.doctor.finding import Finding
from wgbind.doctor.verdict import Packet, Ruleset
from wgbind.errors import FirewallError
from wgbind.firewall.compile import table_name
from wgbind.net.host import INTERNET as _INTERNET
from wgbind.settings.reference import ZONES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wgbind.doctor.verdict import Culprit
    from wgbind.firewall.policy import Policy
    from wgbind.settings.address import Address, InterfaceAddress
    from wgbind.settings.reference import Zone

SYSTEM_PATH = "/usr/sbin:/sbin"

INTERNET: dict[int, Address] = {each.version: each for each in map(ip_address, _INTERNET)}
"""Clients anywhere; nothing is sent to them."""

FORWARDED = ("prerouting", "forward", "postrouting")

UNCOMMON = {"sport": 40404, "dport": 40404}
"""Ports that no rule names by itself: what is dropped there is dropped of most."""

_LEGACY = ("iptables", "ip6tables")


@dataclass(frozen=True)
class Need:
    """A packet that a server needs to get through.

    Attributes:
        what: What it is, for people.
        kind: Where it has to be let through: "input", "output", "host" from the tunnel, "from" the
            tunnel to elsewhere, "to" the tunnel.
        packet: The packet.
    """

    what: str
    kind: str
    packet: Packet


def needs(policy: Policy, egress: tuple[str, ...], port: int) -> Iterator[Need]:
    """Return what a server needs to get through.

    Args:
        policy: Its policy.
        egress: The interfaces to the internet.
        port: Its UDP port; 0 if it is not known yet.
    """
    for outside in egress or (None,):
        for version in (4, 6) if port else ():
            yield from _datagrams(outside, version, port)
    opened = set(_opened(policy))
    for address in policy.addresses:
        yield from _inner(opened, policy.interface, address, egress or (None,))


def _datagrams(outside: str | None, version: int, port: int) -> Iterator[Need]:
    client = INTERNET[version]
    yield Need(
        f"what clients send to UDP port {port}",
        "input",
        Packet(
            version,
            ("prerouting", "input"),
            "udp",
            iif=outside,
            oif="",
            source=client,
            ports={"dport": port},
        ),
    )
    yield Need(
        "what this server sends to its clients",
        "output",
        Packet(
            version,
            ("output", "postrouting"),
            "udp",
            "established",
            iif="",
            oif=outside,
            destination=client,
            ports={"sport": port},
        ),
    )


def _inner(
    opened: set[tuple[Zone, Zone]],
    name: str,
    address: InterfaceAddress,
    egress: Iterable[str | None],
) -> Iterator[Need]:
    """What comes from the tunnel or goes there, of one family."""
    version = address.version
    client, peer = INTERNET[version], address.ip + 1
    from_tunnel = Packet(version, FORWARDED, "udp", iif=name, source=peer, ports=UNCOMMON)
    to_tunnel = Packet(version, FORWARDED, "udp", oif=name, destination=peer, ports=UNCOMMON)
    for outside in egress:
        if ("tunnel", "outside") in opened:
            out = replace(from_tunnel, oif=outside, destination=client)
            back = replace(to_tunnel, state="established", iif=outside, source=client)
            yield Need("what peers send to other networks", "from", out)
            yield Need("the answers from other networks to peers", "to", back)
        if ("outside", "tunnel") in opened:
            into = replace(to_tunnel, iif=outside, source=client)
            yield Need("what other networks send to peers", "to", into)
    if ("tunnel", "tunnel") in opened:
        across = replace(from_tunnel, oif=name, destination=peer + 1)
        yield Need("what peers send to each other", "from", across)
    if ("tunnel", "host") in opened:
        hooks = ("prerouting", "input")
        ping = Packet(version, hooks, "icmp", "new", name, "", peer, address.ip)
        yield Need("what peers send to this host", "host", ping)


def _opened(policy: Policy) -> Iterator[tuple[Zone, Zone]]:
    """Between which zones the policy lets anything pass."""
    for rule in policy.rules:
        if rule.action == "allow":
            for source in rule.sources:
                for destination in rule.destinations:
                    for one in ZONES[source.kind]:
                        yield from ((one, other) for other in ZONES[destination.kind])
    if policy.settings.forwards:
        yield "outside", "tunnel"


def read_ruleset(interface: str) -> Ruleset | None:
    """Read the host's nftables rules, but the own ones of that server; None if there is no nft.

    Raises `FirewallError` if nft fails.
    """
    program = shutil.which("nft") or shutil.which("nft", path=SYSTEM_PATH)
    if program is None:
        return None
    listed = subprocess.run(
        [program, "-j", "list", "ruleset"], capture_output=True, text=True, timeout=30, check=False
    )
    if listed.returncode != 0:
        raise FirewallError(f"nft: {listed.stderr.strip() or 'it cannot list the rules'}")
    return Ruleset(json.loads(listed.stdout)["nftables"], without=[table_name(interface)])


def blocked(ruleset: Ruleset, policy: Policy, egress: tuple[str, ...], port: int) -> list[Finding]:
    """Return a finding for each chain of others that drops something that the server needs."""
    found: dict[tuple[Culprit, str], Finding] = {}
    for need in needs(policy, egress, port):
        for culprit in ruleset.culprits(need.packet):
            place = f"{culprit.family} {culprit.table}"
            if culprit.handle is None:
                by = f"the policy of chain {culprit.base} of table {place}"
            else:
                by = f"rule {culprit.handle} in chain {culprit.chain} of table {place}"
            drops = "drops" if culprit.certain else "may drop"
            found.setdefault(
                (culprit, need.what),
                Finding(
                    culprit.certain,
                    f"{by} {drops} {need.what} (IPv{need.packet.version})",
                    _remedy(ruleset, culprit, need, policy.interface, port),
                ),
            )
    return list(found.values())


def _remedy(ruleset: Ruleset, culprit: Culprit, need: Need, name: str, port: int) -> str:
    """Return the command that lets it pass, in the language of whom the table belongs to."""
    chains = ruleset.chains[culprit.family, culprit.table]
    command = "ip6tables" if culprit.family == "ip6" else "iptables"
    if any(chain.startswith(("ufw-", "ufw6-")) for chain in chains):
        return {
            "input": f"ufw allow {port}/udp",
            "output": f"ufw allow out proto udp from any port {port}",
            "host": f"ufw allow in on {name}",
            "from": f"ufw route allow in on {name}",
            "to": f"ufw route allow out on {name}",
        }[need.kind]
    if culprit.table == "firewalld":
        if need.kind == "input":
            what = f"--add-port={port}/udp"
        else:
            what = f"--zone=trusted --add-interface={name}"
        return f"firewall-cmd --permanent {what} && firewall-cmd --reload"
    if culprit.family in {"ip", "ip6"} and culprit.base.isupper():
        # What Docker looks into first, and leaves to others.
        forward = "DOCKER-USER" if "DOCKER-USER" in chains else culprit.base
        return {
            "input": f"{command} -I {culprit.base} -p udp --dport {port} -j ACCEPT",
            "output": f"{command} -I {culprit.base} -p udp --sport {port} -j ACCEPT",
            "host": f"{command} -I {culprit.base} -i {name} -j ACCEPT",
            "from": f"{command} -I {forward} -i {name} -j ACCEPT",
            "to": f"{command} -I {forward} -o {name} -j ACCEPT",
        }[need.kind]
    match = {
        "input": f"udp dport {port}",
        "output": f"udp sport {port}",
        "host": f'iifname "{name}"',
        "from": f'iifname "{name}"',
        "to": f'oifname "{name}"',
    }[need.kind]
    place = f"{culprit.family} {culprit.table} {culprit.base}"
    return f"nft 'insert rule {place} {match} accept'"


def legacy() -> Iterator[Finding]:
    """Find rules of the old iptables, which nftables does not list."""
    for command, names in zip(_LEGACY, ("ip_tables_names", "ip6_tables_names"), strict=True):
        try:
            tables = Path("/proc/net", names).read_text(encoding="ascii").split()
        except OSError:
            continue
        if "filter" not in tables:
            continue
        program = shutil.which(f"{command}-legacy", path=SYSTEM_PATH)
        listed = ""
        if program is not None:
            run = subprocess.run([program, "-S"], capture_output=True, text=True, check=False)
            listed = run.stdout
        for chain in ("INPUT", "FORWARD"):
            if f"-P {chain} DROP" in listed:
                yield Finding(
                    True,
                    f"the policy of chain {chain} of {command}-legacy drops what no rule accepts",
                    f"{command}-legacy -S {chain} lists it; accept there what wgbind needs, or "
                    f"{command}-legacy -P {chain} ACCEPT",
                )
        if not listed:
            yield Finding(
                False,
                f"the kernel has rules of the old {command}, and {command}-legacy, which would "
                "list them, is missing",
                "apt install iptables",
            )
