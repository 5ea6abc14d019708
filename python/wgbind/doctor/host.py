"""What a server needs of its host beside packet filters."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from wgbind.doctor.filters import SYSTEM_PATH
from wgbind.doctor.finding import Finding
from wgbind.errors import FirewallError
from wgbind.firewall.nftables import NfTables
from wgbind.net import sysctl
from wgbind.net.forwarding import IPV4_SWITCH, IPV6_SWITCH
from wgbind.net.netlink import netlink, outside_event_loop
from wgbind.settings.number import MTU_MIN_IPV6

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wgbind.settings.model import ServerSettings
    from wgbind.store.peer import Peer

TUN = Path("/dev/net/tun")

SO_RCVBUFFORCE = 33  # asm-generic/socket.h
BUFFER_SIZE = 7 << 20
"""What the device asks for, in bytes."""

OVERHEAD = {4: 60, 6: 80}
"""Bytes around a packet in the tunnel: IP, UDP and WireGuard's own 32 (the paper, 5.4.6)."""


def programs() -> Iterator[Finding]:
    """Look for what a server cannot start without."""
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        yield Finding(
            True,
            f"{TUN} is missing: no tunnel can be made",
            "modprobe tun; for a container: --device /dev/net/tun --cap-add NET_ADMIN",
        )
    except OSError as error:
        yield Finding(
            True,
            f"{TUN}: {error.strerror}: no tunnel can be made",
            "run it as root; for a container: --device /dev/net/tun --cap-add NET_ADMIN",
        )
    try:
        with NfTables() as kernel:
            kernel.generation()
    except FirewallError as error:
        yield Finding(True, f"{error}: no rules can be set", "a kernel with nf_tables")
    if not (shutil.which("nft") or shutil.which("nft", path=SYSTEM_PATH)):
        yield Finding(
            False,
            "nft is missing: rules of other programs that stand in the way are not found",
            "apt install nftables (or its like)",
        )


def port(number: int) -> Iterator[Finding]:
    """See whether a stopped server would get its UDP port; 0 is any."""
    for family in (socket.AF_INET, socket.AF_INET6) if number else ():
        try:
            taken = socket.socket(family, socket.SOCK_DGRAM)
        except OSError:
            continue  # a kernel without IPv6
        with closing(taken):
            if family == socket.AF_INET6:
                taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                taken.bind(("", number))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    yield Finding(
                        True,
                        f"UDP port {number} is taken by another program",
                        f"ss -lunp sport = :{number} names it; stop it, or set "
                        "interface.listen_port",
                    )
                    return


def buffers() -> Iterator[Finding]:
    """See whether the device gets the buffers that it asks for; in a container it may not."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_SIZE)
        except OSError:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_SIZE)
        size = probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # twice, says socket(7)
    if size < BUFFER_SIZE:
        yield Finding(
            False,
            f"UDP sockets get buffers of {size} bytes here: bursts of packets are lost",
            "on the host: sysctl -w "
            f"net.core.rmem_max={BUFFER_SIZE} net.core.wmem_max={BUFFER_SIZE}",
        )


def forwarding(settings: ServerSettings, *, running: bool) -> Iterator[Finding]:
    """See whether packets between networks are forwarded, or could be."""
    versions = {address.version for address in settings.interface.addresses}
    for version, key in ((4, IPV4_SWITCH), (6, IPV6_SWITCH)):
        if version not in versions or sysctl.read(key) != "0":
            continue
        switch = f"{sysctl.dotted(key)} is 0"
        if sysctl.read_only(key):
            yield Finding(
                True,
                f"{switch} and cannot be changed here: peers reach no other network",
                f"on the host, or for the container: --sysctl {sysctl.dotted(key)}=1",
            )
        elif running:
            yield Finding(
                True,
                f"{switch}, though the server had set it: peers reach no other network",
                f"sysctl -w {sysctl.dotted(key)}=1, and find out who sets it to 0",
            )


def reverse_path(settings: ServerSettings, egress: Iterable[str]) -> Iterator[Finding]:
    """Look for interfaces that drop what comes by another way than answers would leave."""
    routing = settings.routing
    if not (routing.uplinks or "host" in routing.exit):
        return
    for name in dict.fromkeys((*egress, *routing.uplinks)):
        keys = [f"net/ipv4/conf/{each}/rp_filter" for each in ("all", name)]
        if max(sysctl.read(key) or "0" for key in keys) == "1":
            yield Finding(
                False,
                f"{sysctl.dotted(keys[1])} is 1 (strict): with several ways to the internet, "
                f"{name} may drop what is forwarded to peers",
                f"sysctl -w {sysctl.dotted(keys[1])}=2",
            )


@outside_event_loop
def mtu(settings: ServerSettings, egress: Iterable[str], version: int) -> Iterator[Finding]:
    """See whether a full packet fits the links to the internet with what is put around it.

    `version` is the IP version outside with the larger header.
    """
    with netlink("reading interfaces") as kernel:
        sizes = {link.get("IFLA_IFNAME"): link.get("IFLA_MTU") for link in kernel.get_links()}
    inner, overhead = settings.interface.mtu, OVERHEAD[version]
    return (
        Finding(
            False,
            f"interface.mtu {inner} and {overhead} bytes around a packet exceed {name}'s MTU of "
            f"{sizes[name]}: large packets travel in fragments, slowly or not at all",
            f"set interface.mtu = {max(sizes[name] - overhead, MTU_MIN_IPV6)}",
        )
        for name in egress
        if name in sizes and inner + overhead > sizes[name]
    )


def clock(peers: Iterable[Peer]) -> Iterator[Finding]:
    """See whether the clock went back: who knows a later time takes our handshakes for old ones."""
    now = datetime.now(timezone.utc)
    latest = max((peer.created_at for peer in peers), default=now)
    if latest > now:
        yield Finding(
            True,
            f"the clock says {now:%Y-%m-%d %H:%M} UTC, which is before the newest peer was added: "
            "peers refuse handshakes that seem older than the last one",
            "set the clock, or let it be set: timedatectl set-ntp true",
        )
