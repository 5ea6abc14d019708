"""enable_forwarding and restore_forwarding, on the kernel's own settings."""

import json
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import interface_name, veth
from net.host import Host
from wgbind.errors import NetworkError
from wgbind.net.forwarding import enable_forwarding, restore_forwarding

IPV4 = "net.ipv4.ip_forward"
IPV6 = "net.ipv6.conf.all.forwarding"

SCRIPT = """
import os, signal, sys
from pathlib import Path
from wgbind.errors import WgbindError
from wgbind.net import sysctl
from wgbind.net.forwarding import enable_forwarding, restore_forwarding
try:
    for step in sys.argv[2:]:
        if step == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if step == "kill-at-change":
            sysctl.write = lambda key, value: os.kill(os.getpid(), signal.SIGKILL)
            continue
        for line in {"enable": enable_forwarding, "restore": restore_forwarding}[step](
            Path(sys.argv[1])
        ):
            print(line)
except WgbindError as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def host() -> Iterator[Host]:
    """A host with an Ethernet interface, eth7."""
    with Host() as namespace:
        namespace.link("eth7")
        yield namespace


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "wg0.json"


def state(host: Host) -> tuple[str, str]:
    return host.sysctl(IPV4), host.sysctl(IPV6)


def process(host: Host, record: Path, *steps: str, before: str = "true") -> str:
    """Run steps in a process with mounts of its own, in which `before` ran; return its output."""
    argv = [sys.executable, "-c", SCRIPT, str(record), *steps]
    shell = f'set -e; {before}; exec "$@"'
    return host.run(
        ["unshare", "--mount", "bash", "-c", shell, "bash", *argv],
        check=not any(step.startswith("kill") for step in steps),
    ).stdout


def test_on_and_back(host: Host, record: Path) -> None:
    assert state(host) == ("0", "0")
    changed = host.call(enable_forwarding, record)
    assert f"{IPV4} 1 instead of 0" in changed
    assert f"{IPV6} 1 instead of 0" in changed
    assert state(host) == ("1", "1")
    assert record.stat().st_mode & 0o777 == 0o600
    assert host.call(enable_forwarding, record) == []
    assert set(host.call(restore_forwarding, record)) >= {f"{IPV4} 0 again", f"{IPV6} 0 again"}
    assert state(host) == ("0", "0")
    assert not record.exists()
    assert host.call(restore_forwarding, record) == []


def test_what_is_on_already_is_not_ours(host: Host, record: Path) -> None:
    host.sysctl(IPV4, "1")
    host.sysctl(IPV6, "1")
    assert host.call(enable_forwarding, record) == []
    assert host.sysctl("net.ipv6.conf.eth7.accept_ra") == "1"  # a router hears none: as before
    assert not record.exists()
    host.call(restore_forwarding, record)
    assert state(host) == ("1", "1")


def test_killed_and_started_again(host: Host, record: Path) -> None:
    for _ in range(3):
        process(host, record, "enable", "kill")
        assert state(host) == ("1", "1")
    assert host.call(enable_forwarding, record) == []
    host.call(restore_forwarding, record)
    assert state(host) == ("0", "0")


def test_killed_between_record_and_change(host: Host, record: Path) -> None:
    process(host, record, "kill-at-change", "enable")
    assert record.exists()
    assert state(host) == ("0", "0")
    assert host.call(restore_forwarding, record) == []
    assert state(host) == ("0", "0")
    assert not record.exists()


def test_read_only_proc(host: Host, record: Path) -> None:
    read_only = "mount -o bind,ro /proc/sys /proc/sys"
    answer = process(host, record, "enable", before=read_only)
    assert answer == (
        f"NetworkError: /proc/sys is read-only here, and needed is {IPV4}=1 {IPV6}=1: "
        f"set it on the host, or start the container with --sysctl {IPV4}=1 --sysctl {IPV6}=1\n"
    )
    assert not record.exists()
    host.sysctl(IPV4, "1")
    host.sysctl(IPV6, "1")
    assert process(host, record, "enable", "restore", before=read_only) == ""
    assert state(host) == ("1", "1")


def test_two_servers_and_the_last_one_restores(host: Host, tmp_path: Path) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    for first, last in ((one, two), (two, one)):
        host.call(enable_forwarding, one)
        assert host.call(enable_forwarding, two) == []
        host.call(restore_forwarding, first)
        assert state(host) == ("1", "1")
        host.call(restore_forwarding, last)
        assert state(host) == ("0", "0")


def test_many_servers_at_once(host: Host, tmp_path: Path) -> None:
    loop = (
        "import sys\nfrom pathlib import Path\n"
        "from wgbind.net import sysctl\n"
        "from wgbind.net.forwarding import enable_forwarding, restore_forwarding\n"
        "for _ in range(20):\n"
        "    enable_forwarding(Path(sys.argv[1]))\n"
        "    assert sysctl.read('net/ipv4/ip_forward') == '1'\n"
        "    assert sysctl.read('net/ipv6/conf/all/forwarding') == '1'\n"
        "    restore_forwarding(Path(sys.argv[1]))\n"
    )
    servers = [
        host.popen([sys.executable, "-c", loop, str(tmp_path / f"{number}.json")])
        for number in range(4)
    ]
    outputs = [server.communicate(timeout=60)[0] for server in servers]
    assert [server.returncode for server in servers] == [0] * 4, outputs
    assert state(host) == ("0", "0")


def test_what_others_changed_is_theirs(host: Host, record: Path) -> None:
    host.call(enable_forwarding, record)
    host.sysctl(IPV4, "0")
    host.sysctl("net.ipv6.conf.eth7.accept_ra", "0")
    host.call(restore_forwarding, record)
    assert state(host) == ("0", "0")
    assert host.sysctl("net.ipv6.conf.eth7.accept_ra") == "0"


def test_settings_that_the_kernel_changes_along(host: Host, record: Path) -> None:
    host.link("eth8")
    chosen = {
        "net.ipv4.conf.all.accept_redirects": "0",
        "net.ipv4.conf.eth7.forwarding": "1",
        "net.ipv4.conf.eth8.forwarding": "0",
        "net.ipv6.conf.eth7.forwarding": "1",
        "net.ipv6.conf.eth8.forwarding": "0",
        "net.ipv6.conf.eth7.accept_ra": "1",
    }
    for key, value in chosen.items():
        host.sysctl(key, value)
    host.call(enable_forwarding, record)
    assert host.sysctl("net.ipv6.conf.eth8.forwarding") == "1"
    assert host.sysctl("net.ipv6.conf.eth7.accept_ra") == "1"
    host.call(restore_forwarding, record)
    assert {key: host.sysctl(key) for key in chosen} == chosen


def test_an_interface_that_came_and_one_that_went(host: Host, record: Path) -> None:
    host.call(enable_forwarding, record)
    host.link("eth8")
    assert host.sysctl("net.ipv6.conf.eth8.accept_ra") == "1"
    assert "net.ipv6.conf.eth8.accept_ra 2 instead of 1" in host.call(enable_forwarding, record)
    host.ip("link", "delete", "eth7")
    host.call(restore_forwarding, record)
    assert state(host) == ("0", "0")
    assert host.sysctl("net.ipv6.conf.eth8.accept_ra") == "1"


def test_default_route_from_a_router_stays(host: Host, record: Path) -> None:
    with Host("router") as router:
        veth(router, host, ("down0", "up0"))
        wait_for(lambda: advertise(router, "down0") and default_routes(host) == ["up0"])
        host.call(enable_forwarding, record)
        assert host.sysctl("net.ipv6.conf.up0.accept_ra") == "2"
        assert default_routes(host) == ["up0"]
        host.ip("-6", "route", "flush", "root", "::/0", "proto", "ra")
        wait_for(lambda: advertise(router, "down0") and default_routes(host) == ["up0"])
        host.call(restore_forwarding, record)
        assert host.sysctl("net.ipv6.conf.up0.accept_ra") == "1"
        assert default_routes(host) == ["up0"]
        host.sysctl(IPV6, "1")  # what a host without our care meets
        assert default_routes(host) == []


def test_a_tunnel_hears_no_routers(host: Host, record: Path) -> None:
    tun = interface_name()
    host.ip("tuntap", "add", tun, "mode", "tun")
    host.call(enable_forwarding, record)
    assert host.sysctl(f"net.ipv6.conf.{tun}.accept_ra") == "1"
    assert host.sysctl("net.ipv6.conf.eth7.accept_ra") == "2"


def test_interface_with_a_dot_in_its_name(host: Host, record: Path) -> None:
    host.link("eth7.12")
    changed = host.call(enable_forwarding, record)
    assert "net.ipv6.conf.eth7/12.accept_ra 2 instead of 1" in changed
    host.call(restore_forwarding, record)
    assert host.sysctl("net.ipv6.conf.eth7/12.accept_ra") == "1"


def test_ipv6_switched_off(record: Path) -> None:
    with Host(ipv6=False) as host:
        host.link("eth7")
        assert host.call(enable_forwarding, record) == [f"{IPV4} 1 instead of 0"]
        assert state(host) == ("1", "0")
        host.call(restore_forwarding, record)
        assert state(host) == ("0", "0")


def test_a_kernel_without_ipv6(host: Host, record: Path) -> None:
    hide = "mount -t tmpfs none /proc/sys/net; mkdir -p /proc/sys/net/ipv4/conf; "
    hide += "echo 0 > /proc/sys/net/ipv4/ip_forward"
    answer = process(host, record, "enable", "restore", before=hide)
    assert answer == f"{IPV4} 1 instead of 0\n{IPV4} 0 again\n"


def test_record_of_another_boot_or_namespace(host: Host, record: Path) -> None:
    host.call(enable_forwarding, record)
    with Host("other") as other:
        other.sysctl(IPV4, "1")
        assert other.call(restore_forwarding, record) == []
        assert other.sysctl(IPV4) == "1"
    assert not record.exists()
    assert state(host) == ("1", "1")


def test_record_that_is_none(host: Host, record: Path) -> None:
    host.call(enable_forwarding, record)
    good = json.loads(record.read_text())
    bad = [{"changes": []}, good | {"changes": 3}, good | {"changes": [{"key": "a", "b": "c"}]}, []]
    for content in (b"", b"\xff", *(json.dumps(each).encode() for each in bad)):
        record.write_bytes(content)
        for function in (enable_forwarding, restore_forwarding):
            with pytest.raises(NetworkError, match=f"{record}: not a record") as raised:
                host.call(function, record)
            assert "\n" not in str(raised.value)
    assert state(host) == ("1", "1")


def test_without_the_right(host: Host, record: Path) -> None:
    # The kernel lets uid 0 write its settings even without any capability (net_ctl_permissions),
    # and where user namespaces stand in for root there is no other uid: files stand in for them.
    without = """
        file=$(mktemp); echo 0 >$file; chmod 400 $file
        for setting in ipv4/ip_forward ipv6/conf/all/forwarding; do
            mount --bind $file /proc/sys/net/$setting
        done; rm $file
        exec setpriv --bounding-set=-all --inh-caps=-all "$@"
    """
    answer = process(host, record, "enable", before=without)
    assert answer.startswith("PrivilegeError: net.ipv")
    assert answer.endswith("needs CAP_NET_ADMIN; run it as root\n")
    assert state(host) == ("0", "0")


def default_routes(host: Host) -> list[str]:
    return [route["dev"] for route in host.ip_json("-6", "route", "show", "default")]


def advertise(router: Host, interface: str) -> bool:
    """Send a router advertisement (RFC 4861, 4.2): a router for 1800 seconds."""
    message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    with router.call(
        socket.socket, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6
    ) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        index = router.ip_json("link", "show", interface)[0]["ifindex"]
        try:
            sock.sendto(message, ("ff02::1", 0, 0, index))
        except OSError:
            return False  # the router has no link-local address yet
    return True


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
