"""converge_interface, on real interfaces."""

import asyncio
import gc
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from harness import interface_name
from net.host import Host
from wgbind.errors import NetworkError
from wgbind.net.interface import converge_interface
from wgbind.net.route import Route, converge_routes

ADDRESSES = (ip_interface("10.77.0.1/24"), ip_interface("fd77::1/64"))


@pytest.fixture
def tun(host: Host) -> str:
    name = interface_name()
    host.ip("tuntap", "add", name, "mode", "tun")
    return name


def addresses(host: Host, name: str) -> set[str]:
    return {
        f"{entry['local']}/{entry['prefixlen']}"
        for entry in host.ip_json("address", "show", name)[0]["addr_info"]
    }


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_only_the_difference_is_applied(host: Host, tun: str) -> None:
    first = host.call(converge_interface, tun, ADDRESSES, 1400)
    assert len(first) == 4  # the MTU, two addresses, the link
    assert host.call(converge_interface, tun, ADDRESSES, 1400) == []
    link = host.ip_json("address", "show", tun)[0]
    assert (link["mtu"], "UP" in link["flags"]) == (1400, True)
    assert addresses(host, tun) == {"10.77.0.1/24", "fd77::1/64"}

    moved = (ip_interface("10.77.0.1/16"), ADDRESSES[1])
    assert host.call(converge_interface, tun, moved, 1400) == [
        "address 10.77.0.1/24 removed",
        "address 10.77.0.1/16 added",
    ]
    assert addresses(host, tun) == {"10.77.0.1/16", "fd77::1/64"}
    host.ip("link", "set", tun, "down")
    assert host.call(converge_interface, tun, moved, 1420) == [
        "MTU 1420 instead of 1400",
        "address fd77::1/64 added",  # the kernel drops IPv6 addresses with the link
        "link up",
    ]


def test_addresses_that_fall_together(host: Host, tun: str) -> None:
    three = [ip_interface(f"10.77.0.{number}/24") for number in (1, 2, 3)]
    host.call(converge_interface, tun, three, 1420)
    # Without this sysctl the kernel takes the others of the network away with the first.
    host.sysctl(f"net.ipv4.conf.{tun}.promote_secondaries", "0")
    host.call(converge_interface, tun, three[2:], 1420)
    assert addresses(host, tun) == {"10.77.0.3/24"}
    host.call(converge_interface, tun, three[:2], 1420)
    assert addresses(host, tun) == {"10.77.0.1/24", "10.77.0.2/24"}
    host.call(converge_interface, tun, [ip_interface("10.78.0.1/24")], 1420)
    assert addresses(host, tun) == {"10.78.0.1/24"}


def test_ipv6_address_is_usable_at_once(host: Host) -> None:
    # A TUN interface detects no duplicates; an Ethernet one does, unless told otherwise.
    name = interface_name()
    host.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}p")
    host.ip("link", "set", f"{name}p", "up")
    for scope in ("all", name):
        host.sysctl(f"net.ipv6.conf.{scope}.accept_dad", "1")
    host.call(converge_interface, name, ADDRESSES, 1420)
    info = host.ip_json("-6", "address", "show", name)[0]["addr_info"]
    assert [(entry["local"], entry.get("tentative")) for entry in info] == [("fd77::1", None)]


def test_the_tunnel_has_no_link_local_address(host: Host, tun: str) -> None:
    # A reader gives a TUN interface its carrier, and with it would come the address.
    reader = host.popen([sys.executable, "-c", OPEN_TUN, tun])
    assert reader.stdout is not None
    assert reader.stdout.readline() == "open\n"
    host.call(converge_interface, tun, ADDRESSES, 1420)
    time.sleep(0.2)
    assert addresses(host, tun) == {"10.77.0.1/24", "fd77::1/64"}
    host.ip("link", "set", tun, "down")
    host.ip("link", "set", tun, "addrgenmode", "random")
    host.ip("link", "set", tun, "up")
    deadline = time.monotonic() + 60
    while not any(address.startswith("fe80:") for address in addresses(host, tun)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    host.call(converge_interface, tun, ADDRESSES, 1420)
    assert addresses(host, tun) == {"10.77.0.1/24", "fd77::1/64"}


OPEN_TUN = """
import fcntl, struct, sys, time
tun = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", sys.argv[1].encode(), 0x1001))
print("open", flush=True)
time.sleep(120)
"""


def test_an_interface_that_takes_no_ipv6(host: Host, tun: str) -> None:
    host.sysctl(f"net.ipv6.conf.{tun}.disable_ipv6", "1")
    host.call(converge_interface, tun, ADDRESSES, 1420)
    behind = [Route(ip_network(each), tun) for each in ("10.90.0.0/16", "fd90::/64")]
    host.call(converge_routes, tun, behind)
    assert addresses(host, tun) == {"10.77.0.1/24"}
    shown = host.ip_json("route", "show", "dev", tun, "proto", "87")
    assert [route["dst"] for route in shown] == ["10.90.0.0/16"]
    assert host.ip_json("-6", "route", "show", "dev", tun, "proto", "87") == []
    assert host.call(converge_interface, tun, ADDRESSES, 1420) == []


def test_an_interface_that_is_gone(host: Host, tun: str) -> None:
    host.ip("link", "delete", tun)
    with pytest.raises(NetworkError, match=f"{tun}: the interface does not exist"):
        host.call(converge_interface, tun, ADDRESSES, 1420)
    with pytest.raises(NetworkError, match=f"{tun}: the interface does not exist"):
        host.call(converge_routes, tun, [])


def test_an_interface_that_vanishes_meanwhile(host: Host, tun: str) -> None:
    for _ in range(10):
        killer = host.popen(["ip", "link", "delete", tun])
        with pytest.raises(NetworkError) as raised:
            while True:  # until it is gone
                host.call(converge_interface, tun, ADDRESSES, 1420)
                host.call(converge_routes, tun, [Route(ip_network("10.90.0.0/16"), tun)])
                host.call(converge_routes, tun, [])
        assert "\n" not in str(raised.value)
        assert killer.wait(60) == 0
        host.ip("tuntap", "add", tun, "mode", "tun")


def test_a_mtu_that_the_device_refuses(host: Host, tun: str) -> None:
    with pytest.raises(NetworkError, match=f"interface {tun}: MTU 70000: Invalid argument"):
        host.call(converge_interface, tun, ADDRESSES, 70000)


def test_no_right(host: Host, tun: str) -> None:
    program = (
        "from ipaddress import ip_interface\n"
        "from wgbind.errors import PrivilegeError\n"
        "from wgbind.net.interface import converge_interface\n"
        f"try: converge_interface({tun!r}, [ip_interface('10.77.0.1/24')], 1420)\n"
        "except PrivilegeError as error: print(error)\n"
    )
    drop = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    output = host.run([*drop, sys.executable, "-c", program]).stdout
    assert output.endswith("needs CAP_NET_ADMIN; run it as root\n")


def test_in_an_event_loop_and_in_many_threads(host: Host, tun: str) -> None:
    async def converge() -> list[str]:
        return converge_interface(tun, ADDRESSES, 1420)

    assert host.call(asyncio.run, converge()) != []
    gc.collect()  # nor may others' files be closed meanwhile
    before = open_files()

    def many() -> list[list[str]]:
        # Threads begin in the namespace of the one that starts them.
        with ThreadPoolExecutor(8) as executor:
            return list(executor.map(lambda _: converge_interface(tun, ADDRESSES, 1420), range(40)))

    assert host.call(many) == [[]] * 40
    gc.collect()  # a forgotten socket warns now, and warnings are errors
    assert open_files() == before
