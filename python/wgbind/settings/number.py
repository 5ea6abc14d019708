"""Numbers that several sections of the settings have."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

MTU_MIN_IPV4 = 576  # what every IPv4 host takes (RFC 791, 3.1)
MTU_MIN_IPV6 = 1280  # RFC 8200, section 5
MTU_MAX = 65456  # with a block of padding and WireGuard's 32 bytes it fits UDP's 65507 (IPv4)

Integer: TypeAlias = Annotated[int, Field(strict=True)]
Keepalive: TypeAlias = Annotated[Integer, Field(ge=0, le=65535)]
Mtu: TypeAlias = Annotated[Integer, Field(le=MTU_MAX)]
