"""QR codes for the cameras of phones: on the terminal, as SVG and as PNG."""

from __future__ import annotations

import io

import segno
from segno.encoder import DataOverflowError

from wgbind.errors import InputError

# White on black, whatever the terminal's own colours are: not every reader takes an inverted code.
_COLOURS, _RESET = "\x1b[37;40;1m", "\x1b[0m"

_PIXELS = 8  # for each module: a camera reads it from a screen and from paper


def terminal(text: str) -> str:
    """Return `text` as a QR code, two of its rows in one line; raise `InputError`.

    The quiet zone of four modules around it is part of the code (ISO/IEC 18004).
    """
    lines = io.StringIO()
    _code(text).terminal(lines, compact=True)
    return "".join(f"{_COLOURS}{line}{_RESET}\n" for line in lines.getvalue().splitlines())


def svg(text: str) -> bytes:
    """Return `text` as a QR code in SVG; raise `InputError`."""
    return _image(text, "svg")


def png(text: str) -> bytes:
    """Return `text` as a QR code in PNG, eight pixels for each module; raise `InputError`."""
    return _image(text, "png")


def _image(text: str, kind: str) -> bytes:
    image = io.BytesIO()
    # The ground is said: on a dark page, a code without one would be inverted.
    _code(text).save(image, kind=kind, scale=_PIXELS, dark="#000", light="#fff")
    return image.getvalue()


def _code(text: str) -> segno.QRCode:
    try:
        return segno.make_qr(text, error="l")
    except DataOverflowError:
        raise InputError(
            f"{len(text)} characters are too many for a QR code; shorten client.allowed_ips"
        ) from None
