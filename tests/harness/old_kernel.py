"""Run a program as on a kernel that lacks features which a device would use.

Usage: unshare --mount python old_kernel.py FEATURE[,FEATURE]... PROGRAM [ARGUMENT]...

Features have the names of the settings; "steering" is that of datagrams to sockets that share a
port. A seccomp filter (seccomp(2)) answers the program, and
all that it starts, as such a kernel would. Without "udp_ipv6" there is no /proc/sys/net/ipv6
either, as on a kernel that was booted with ipv6.disable=1.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, RETURN = 0x20, 0x06
EQUAL, AT_LEAST, HAS_ANY_OF = 0x15, 0x35, 0x45  # conditional jumps
ALLOW, FAIL = 0x7FFF0000, 0x00050000
NUMBER, FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data

NUMBERS = {
    "x86_64": {"ioctl": 16, "writev": 20, "socket": 41, "setsockopt": 54},
    "aarch64": {"ioctl": 29, "writev": 66, "socket": 198, "setsockopt": 208},
}[platform.machine()]

UDP_SEGMENT, UDP_GRO = 103, 104
SO_ATTACH_REUSEPORT_CBPF = 51
TUNGETFEATURES, TUNSETOFFLOAD = 0x800454CF, 0x400454D0
TUN_F_TSO, TUN_F_USO = 0x02 | 0x04, 0x20 | 0x40


class Refusal(NamedTuple):
    """A system call that fails if each of its arguments (index, condition, value) holds."""

    call: str
    arguments: Sequence[tuple[int, int, int]]
    error: int


REFUSALS = {
    "udp_ipv6": Refusal("socket", [(0, EQUAL, socket.AF_INET6)], errno.EAFNOSUPPORT),
    "udp_gso": Refusal(
        "setsockopt",
        [(1, EQUAL, socket.IPPROTO_UDP), (2, EQUAL, UDP_SEGMENT)],
        errno.ENOPROTOOPT,
    ),
    "udp_gro": Refusal(
        "setsockopt", [(1, EQUAL, socket.IPPROTO_UDP), (2, EQUAL, UDP_GRO)], errno.ENOPROTOOPT
    ),
    "steering": Refusal(
        "setsockopt",
        [(1, EQUAL, socket.SOL_SOCKET), (2, EQUAL, SO_ATTACH_REUSEPORT_CBPF)],
        errno.ENOPROTOOPT,
    ),
    "tun_vnet_hdr": Refusal("ioctl", [(1, EQUAL, TUNGETFEATURES)], errno.EINVAL),
    # Who does not know TSO does not know USO, which is younger.
    "tun_tso": Refusal(
        "ioctl", [(1, EQUAL, TUNSETOFFLOAD), (2, HAS_ANY_OF, TUN_F_TSO | TUN_F_USO)], errno.EINVAL
    ),
    "tun_uso": Refusal(
        "ioctl", [(1, EQUAL, TUNSETOFFLOAD), (2, HAS_ANY_OF, TUN_F_USO)], errno.EINVAL
    ),
    # A virtio header and at least two packets.
    "tun_gro": Refusal("writev", [(2, AT_LEAST, 3)], errno.EINVAL),
}


class Filter(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def instructions(refusal: Refusal) -> list[tuple[int, int, int, int]]:
    """Return the filter's steps for one refusal; where it does not hold, they are left below."""
    conditions = [(NUMBER, EQUAL, NUMBERS[refusal.call])]
    conditions += [(FIRST_ARGUMENT + 8 * at, test, value) for at, test, value in refusal.arguments]
    steps: list[tuple[int, int, int, int]] = [(RETURN, 0, 0, FAIL | refusal.error)]
    for offset, test, value in reversed(conditions):
        steps = [(LOAD, 0, 0, offset), (test, 0, len(steps), value), *steps]
    return steps


def refuse(features: Sequence[str]) -> None:
    """Install the filter in this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    steps = [step for feature in features for step in instructions(REFUSALS[feature])]
    steps.append((RETURN, 0, 0, ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = Filter(len(steps), ctypes.addressof(code))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    absent = sys.argv[1].split(",")
    if "udp_ipv6" in absent:
        subprocess.run(["mount", "-t", "tmpfs", "none", "/proc/sys/net/ipv6"], check=True)
    refuse(absent)
    os.execvp(sys.argv[2], sys.argv[2:])
