"""`wgbind-device`: the data plane alone, with wireguard-go's contract.

It makes the interface and its control socket and nothing else: no addresses, no
routes, no firewall, no store. `wg` and `ip` configure it. It ends when the
interface or the control socket is removed, or on SIGTERM or SIGINT.
"""

import os
import signal
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import NoReturn

from wgbind.detach import Readiness, detach, redirect
from wgbind.errors import InputError, WgbindError

# wireguard-go's words for LOG_LEVEL beside ours (its main.go).
_LOG_LEVELS = {"verbose": "debug", "silent": None}

_EXIT_CODES = """\
environment:
  LOG_LEVEL  silent, error (the default), warn, info, debug or trace; lines go to standard error,
             in the background only if LOG_LEVEL is set
  WGBIND_WORKERS
             threads that move packets: 1 to 16
  WGBIND_WITHOUT
             features of the kernel to leave alone, with commas in between: udp_ipv6, udp_gso,
             udp_gro, tun_vnet_hdr, tun_tso, tun_uso, tun_gro

exit codes:
  0  the interface works (in the background), or was removed or stopped (--foreground)
  1  the system refused: no right, no /dev/net/tun, interface in use
  2  the command line or the environment is wrong
"""


def main() -> None:
    """Run the `wgbind-device` command; end with its exit code."""
    parser = ArgumentParser(
        prog="wgbind-device",
        description="Make a WireGuard interface and work it in user space.",
        epilog=_EXIT_CODES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("-f", "--foreground", action="store_true", help="stay in the foreground")
    parser.add_argument("interface", metavar="INTERFACE", help="name of the interface to make")
    arguments = parser.parse_args()

    # The fork comes before the native module can start a thread.
    readiness = None if arguments.foreground else detach(_report)
    try:
        _run(arguments.interface, readiness)
    except WgbindError as error:
        if readiness is None or not readiness.failed(error):
            _report(error)
        sys.exit(error.exit_code)


def _run(interface: str, readiness: Readiness | None) -> None:
    from wgbind._native import Device, log_to_stderr

    word = os.environ.get("LOG_LEVEL", "")
    level = _LOG_LEVELS.get(word, word or "error")
    if level is not None:
        log_to_stderr(level)

    without = os.environ.get("WGBIND_WITHOUT", "").replace(",", " ").split()
    with Device(interface, workers=_workers(), without=without) as device:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)
        if readiness is not None:
            redirect(2 if word and level is not None else None)
            readiness.ready()
        device.wait()


def _workers() -> int | None:
    text = os.environ.get("WGBIND_WORKERS", "")
    if text and not (text.isascii() and text.isdigit()):
        raise InputError(f"WGBIND_WORKERS: {text!r}: give a whole number from 1 to 16")
    return int(text) if text else None


def _end(_number: int, _frame: object) -> NoReturn:
    """Leave `Device.wait` and the context around it."""
    # A second signal must not break off the cleaning up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def _report(error: WgbindError) -> None:
    print(f"error: {error}", file=sys.stderr)  # noqa: T201
