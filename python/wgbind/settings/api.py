"""The section [api]: who may use the control API, and where it is served beyond this host."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PlainSerializer, ValidationInfo, field_validator

from wgbind.errors import InputError
from wgbind.settings.address import Endpoint
from wgbind.settings.private_key import read_key_file
from wgbind.settings.section import MisplacedError, Section, text

if TYPE_CHECKING:
    from wgbind.settings.paths import Paths

_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.@-]{0,31}\$?")
# 128 bits in hexadecimal; `openssl rand -hex 32` makes twice as many.
_TOKEN = re.compile(r"[A-Za-z0-9_.~+/=-]{32,120}")

_FILES = ("certificate_file", "key_file", "token_file")


def _parse_name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise InputError(f"{value!r} is not the name of a user or group, nor its number")
    return value


def _parse_listen(value: str) -> Endpoint:
    endpoint = Endpoint.parse(value)
    try:
        ip_address(endpoint.host)
    except ValueError:
        raise InputError(f"{value!r}: write an address of this host, or [::] for all") from None
    if endpoint.port is None:
        raise InputError(f"{value!r}: the port is missing; write it behind a colon")
    return endpoint


def _parse_file(value: str) -> Path:
    if not value or not value.isprintable():
        raise InputError(f"{value!r} is not the path of a file")
    return Path(value)


_NameText = Annotated[str, text(_parse_name)]
_File = Annotated[Path, text(_parse_file, Path)]


class ApiSettings(Section):
    """Who may use the control API. What changes here needs a new start."""

    socket_users: tuple[_NameText, ...] = Field(
        default=(),
        description="Users, by name or number, who may use the control socket, to do all that it "
        "offers, beside root and the server's own.",
    )
    socket_groups: tuple[_NameText, ...] = Field(
        default=(), description="Groups of this host whose members may likewise."
    )
    certificate_file: _File | None = Field(
        default=None,
        description="File of the certificate for `listen`, its authorities' behind it (PEM).",
        examples=["api.crt"],
    )
    key_file: _File | None = Field(
        default=None,
        description="File of that certificate's private key (PEM), mode 0600.",
        examples=["api.key"],
    )
    token_file: _File | None = Field(
        default=None,
        description="File of the token that callers of `listen` have to show, mode 0600; "
        "`openssl rand -hex 32` makes one.",
        examples=["api.token"],
    )
    listen: Annotated[Endpoint, text(_parse_listen, Endpoint), PlainSerializer(str)] | None = Field(
        default=None,
        description="Address and port where the API is served to other hosts, by TLS alone; "
        "not set, it is not.",
        examples=["192.0.2.1:8443"],
    )

    @field_validator("listen")
    @classmethod
    def _require_files(cls, value: Endpoint | None, info: ValidationInfo) -> Endpoint | None:
        for key in _FILES:
            # A key that is wrong itself is told of already.
            if value is not None and key in info.data and info.data[key] is None:
                raise MisplacedError(
                    f"{value}: without {key} there is no TLS or no token; name that file, too"
                )
        return value


def api_file(paths: Paths, file: Path | None) -> Path:
    """Return where a file of the section is: its path is relative to the settings."""
    if file is None:
        raise InputError("api: a file is missing")
    return paths.settings.parent / file


def read_token(path: Path) -> str:
    """Read a token from a file that is closed to other users.

    Raises `InputError` (`SettingsError` for a file that others may read or change, or that holds no
    token), `NotFoundError` and `PrivilegeError`.
    """
    return parse_token(read_key_file(path, "token"), str(path))


def parse_token(text: str | None, place: str) -> str:
    """Return a token that is long enough; raise `InputError`, which does not show it."""
    if text is None or _TOKEN.fullmatch(text) is None:
        raise InputError(
            f"{place}: it holds no token; write 32 to 120 letters, digits and _ . ~ + / = - into "
            "it, such as `openssl rand -hex 32` prints"
        )
    return text
