"""The socket itself: its file, its clients, and those of them that stall."""

import os
import socket
import stat
import sys
from concurrent.futures import ThreadPoolExecutor

from harness import interface_name, program, start_device
from harness.names import CONTROL_SOCKETS
from net.host import Host
from uapi.control import Control, new_keys
from uapi.device import Device, running


def test_many_operations_on_one_connection(device: Device) -> None:
    with device.control() as control:
        for mark in range(1, 50):
            assert control.set(f"fwmark={mark}") == 0
            assert control.get().fwmark == mark
        # One that comes byte by byte.
        for byte in "set=1\nfwmark=8\n\n":
            control.send(byte)
        assert control.errno() == 0
        assert control.get().fwmark == 8


def test_requests_that_are_sent_at_once(device: Device) -> None:
    with device.control() as control:
        control.send("set=1\nfwmark=7\n\nget=1\n\n")
        assert control.errno() == 0
        if device.differs("request right behind another", ours=True, theirs=False):
            assert "fwmark=7" in control.lines()


def test_an_operation_after_a_refused_one(device: Device) -> None:
    with device.control() as control:
        assert control.set("fwmark=7") == 0
        control.send("set=1\nunknown=1\n")
        if device.is_ours:  # the other answers before the request has ended
            control.send("\n")
        assert control.errno() == -22
        assert control.set("fwmark=8") == 0


def test_an_empty_set_changes_nothing(device: Device) -> None:
    before = device.get()
    assert device.set() == 0
    assert device.get() == before


def test_numbers_are_signed_as_wg_reads_them(device: Device) -> None:
    with device.control() as control:
        assert control.set("unknown=1") == -22
        if device.is_ours:
            assert control.get().errno == "0"


def test_socket_is_for_its_owner_alone(device: Device) -> None:
    mode = device.socket.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) & 0o077 == 0


def test_directory_is_made(implementation: str) -> None:
    # A mount namespace whose /run has nothing in it.
    script = (
        'mount -t tmpfs none /run && "$0" "$1" && stat -c %a /run/wireguard && rm /run/wireguard/*'
    )
    with Host("uapi") as host:
        argv = ["unshare", "--mount", "sh", "-c", script, program(implementation), interface_name()]
        assert host.run(argv).stdout.split() == ["755"]


def test_a_directory_that_others_may_write_to(implementation: str) -> None:
    script = 'mount -t tmpfs none /run && mkdir -m 777 /run/wireguard && "$0" "$1"; echo $?'
    with Host("uapi") as host:
        argv = ["unshare", "--mount", "sh", "-c", script, program(implementation), interface_name()]
        code = int(host.run(argv).stdout.split()[-1])
    with Host("uapi") as host, running(host, implementation) as device:
        what = "directory that others may write to"
        assert (code == 0) == device.differs(what, ours=False, theirs=True)


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(device: Device) -> None:
    interface = interface_name()
    path = CONTROL_SOCKETS / f"{interface}.sock"
    device.host.owns(interface)
    argv = [program(device.implementation), "-f", interface]
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert device.host.run(argv, check=False).returncode != 0
        assert interface not in device.host.interfaces()
    assert path.exists()
    process = start_device(device.host, argv, interface)
    process.terminate()
    assert process.wait(60) == 0
    assert not path.exists()


def test_a_file_in_the_place_of_the_socket(device: Device) -> None:
    interface = interface_name()
    path = CONTROL_SOCKETS / f"{interface}.sock"
    device.host.owns(interface)
    path.write_text("another's")
    command = [program(device.implementation), interface]
    code = device.host.run(command, check=False).returncode
    assert device.differs("file in the place of the socket", code != 0, code == 0)
    assert path.is_file() == device.is_ours
    if not device.is_ours:
        path.unlink()


def test_stalled_clients_stall_nobody(device: Device) -> None:
    _, peer = new_keys()
    lines = [f"allowed_ip=10.{i >> 8}.{i & 255}.0/24" for i in range(4000)]
    assert device.set(f"public_key={peer}", *lines) == 0
    stalled = ["", "get=1\n"]
    if device.differs("stalled client", ours=True, theirs=False):
        stalled += ["set=1\n", "set=1\nfwmark=", f"set=1\npublic_key={peer}\n", "get=1\n\n" * 100]
    clients = []
    try:
        for text in stalled * 8:
            clients.append(Control(device.interface))
            clients[-1].send(text)
        for mark in range(1, 20):
            assert device.set(f"fwmark={mark}") == 0
            answer = device.get()
            assert answer.fwmark == mark
            assert len(answer.peers[peer].allowed_ips) == len(lines)
    finally:
        for client in clients:
            client.close()


def test_a_set_is_seen_whole_or_not_at_all(device: Device) -> None:
    """One client moves all prefixes from peer to peer while another looks."""
    keys = [new_keys()[1] for _ in range(600)]
    prefixes = [f"10.{i >> 8}.{i & 255}.0/24" for i in range(len(keys))]

    def lines(shift: int) -> list[str]:
        pairs = zip(keys, prefixes[shift:] + prefixes[:shift], strict=True)
        return [
            line for key, prefix in pairs for line in (f"public_key={key}", f"allowed_ip={prefix}")
        ]

    def write() -> None:
        with device.control() as control:
            for shift in range(0, len(keys), 20):
                assert control.set(*lines(shift)) == 0

    assert device.set(*lines(0)) == 0
    with ThreadPoolExecutor(1) as pool, device.control() as control:
        written = pool.submit(write)
        while not written.done():
            owned = [each for peer in control.get().peers.values() for each in peer.allowed_ips]
            assert sorted(owned) == sorted(prefixes)
        written.result()


def test_other_users_are_not_let_in(implementation: str) -> None:
    script = (
        "import os, socket, sys; os.setresuid(65534, 65534, 65534); s = socket.socket(1);"
        " s.connect(sys.argv[1]); s.sendall(b'get=1\\n\\n'); print(len(s.recv(9)))"
    )
    with Host("uapi") as host, running(host, implementation) as device:
        device.socket.chmod(0o666)
        if device.differs("socket whose mode is changed", ours=False, theirs=True):
            while device.socket.exists():
                pass  # it takes any change of the file for its removal
            return
        python = os.path.realpath(sys.executable)
        result = host.run([python, "-c", script, str(device.socket)], check=False)
        assert result.stdout.strip() in {"", "0"}
        assert device.set("fwmark=7") == 0
