"""QR codes on the terminal, for the cameras of phones."""

from __future__ import annotations

import io

import segno
from segno.encoder import DataOverflowError

from wgbind.errors import InputError

# White on black, whatever the terminal's own colours are: not every reader takes an inverted code.
_COLOURS, _RESET = "\x1b[37;40;1m", "\x1b[0m"


def terminal(text: str) -> str:
    """Return `text` as a QR code, two of its rows in one line; raise `InputError`.

    The quiet zone of four modules around it is part of the code (ISO/IEC 18004).
    """
    try:
        code = segno.make_qr(text, error="l")
    except DataOverflowError:
        raise InputError(
            f"{len(text)} characters are too many for a QR code; shorten client.allowed_ips"
        ) from None
    lines = io.StringIO()
    code.terminal(lines, compact=True)
    return "".join(f"{_COLOURS}{line}{_RESET}\n" for line in lines.getvalue().splitlines())
