"""`wgbind-device`: the data plane alone, with wireguard-go's contract.

It makes the interface and its control socket and nothing else: no addresses, no
routes, no firewall, no store. `wg` and `ip` configure it. It ends when the
interface or the control socket is removed, or on SIGTERM or SIGINT.
"""

import os
import signal
import sys
from argparse import Action, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import NoReturn

from wgbind.detach import Readiness, detach, redirect
from wgbind.errors import InputError, WgbindError

# wireguard-go's words for LOG_LEVEL beside ours (its main.go).
_LOG_LEVELS = {"verbose": "debug", "silent": None}

_HELP = """\
environment:
  LOG_LEVEL  silent, error (the default), warn, info, debug or trace; lines go to standard error,
             in the background only if LOG_LEVEL is set
  WG_TUN_FD  number of an open TUN interface to work, instead of making one
  WG_UAPI_FD number of a bound Unix socket to serve `wg` on, instead of INTERFACE's
  WG_PROCESS_FOREGROUND
             1: stay in the foreground
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
        epilog=_HELP,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("-f", "--foreground", action="store_true", help="stay in the foreground")
    parser.add_argument("interface", metavar="INTERFACE", help="name of the interface to make")
    arguments = parser.parse_args()

    # The fork comes before the native module can start a thread.
    foreground = arguments.foreground or os.environ.get("WG_PROCESS_FOREGROUND") == "1"
    readiness = None if foreground else detach(_report)
    try:
        _run(arguments.interface, readiness)
    except WgbindError as error:
        if readiness is None or not readiness.failed(error):
            _report(error)
        sys.exit(error.exit_code)


class _Version(Action):
    """Shows the version, which the native module knows: others need not wait for that."""

    def __call__(self, parser: ArgumentParser, *_: Namespace | object) -> NoReturn:
        from wgbind._native import __version__

        print(f"wgbind-device {__version__}")  # noqa: T201
        parser.exit()


def _run(interface: str, readiness: Readiness | None) -> None:
    from wgbind._native import Device, log_to_stderr

    word = os.environ.get("LOG_LEVEL", "")
    level = _LOG_LEVELS.get(word, word or "error")
    if level is not None:
        log_to_stderr(level)

    without = os.environ.get("WGBIND_WITHOUT", "").replace(",", " ").split()
    workers = _number("WGBIND_WORKERS", "a whole number from 1 to 16")
    tun = _number("WG_TUN_FD", "the number of an open descriptor")
    control = _number("WG_UAPI_FD", "the number of an open descriptor")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    with Device(
        interface, workers=workers, without=without, tun_fd=tun, control_fd=control
    ) as device:
        for handed in {tun, control}:
            if handed is not None:
                os.close(handed)  # the device has its own
        if readiness is not None:
            redirect(2 if word and level is not None else None)
            readiness.ready()
        device.wait()


def _number(variable: str, wanted: str) -> int | None:
    """Read a number from the environment; None if there is none."""
    text = os.environ.get(variable, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError(f"{variable}: {text!r}: give {wanted}")
    return int(text)


def _end(_number: int, _frame: object) -> NoReturn:
    """Leave `Device.wait` and the context around it."""
    # A second signal must not break off the cleaning up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def _report(error: WgbindError) -> None:
    print(f"error: {error}", file=sys.stderr)  # noqa: T201
