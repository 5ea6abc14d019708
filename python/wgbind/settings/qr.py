"""QR codes on the terminal, for the cameras of phones."""

from __future__ import annotations

import io

import segno
from segno.encoder import DataOverflowError

from wgbind.errors import InputError


def terminal(text: str) -> str:
    """Return `text` as a QR code of characters, two dots high each; raise `InputError`.

    The quiet zone of four dots around it is part of the code (ISO/IEC 18004).
    """
    try:
        code = segno.make_qr(text, error="l")
    except DataOverflowError:
        raise InputError(
            f"a QR code cannot hold {len(text)} characters; shorten client.allowed_ips"
        ) from None
    out = io.StringIO()
    code.terminal(out, compact=True)
    return out.getvalue()
