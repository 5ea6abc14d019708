"""Keys, addresses and networks as they stand in JSON: text."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Any, TypeAlias, get_args

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, WithJsonSchema

from wgbind._native import PresharedKey, PrivateKey, PublicKey
from wgbind.settings.address import (
    Address,
    Endpoint,
    Network,
    parse_address,
    parse_network,
    parse_peer_endpoint,
)
from wgbind.settings.client import parse_resolver
from wgbind.settings.section import as_value_error, text

# 32 bytes in base64: the last digit before the "=" has two bits of them.
_KEY = "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"


def _parse_public_key(value: Any) -> PublicKey:  # noqa: ANN401 (what came over the wire)
    if isinstance(value, PublicKey):
        return value
    with as_value_error():
        return PublicKey(_text(value))


def _parse_private_key(value: Any) -> PrivateKey:  # noqa: ANN401
    if isinstance(value, PrivateKey):
        return value
    with as_value_error():
        return PrivateKey(_text(value))


def parse_preshared_key(value: Any) -> PresharedKey:  # noqa: ANN401
    """Parse a preshared key; raise `ValueError`, which does not show it."""
    if isinstance(value, PresharedKey):
        return value
    with as_value_error():
        return PresharedKey(_text(value))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("it is not text")  # noqa: TRY004  pydantic's way; it may be a secret
    return value


def _reveal(key: PrivateKey | PresharedKey) -> str:
    return key.reveal()


def _parse_peer_endpoint(value: Any) -> tuple[str, int]:  # noqa: ANN401
    if isinstance(value, tuple):
        return value
    with as_value_error():
        return parse_peer_endpoint(_text(value))


def _parse_moment(value: object) -> object:
    if isinstance(value, (str, datetime)):
        return value
    raise ValueError("it is no date and time in text, such as 2026-12-31T00:00:00Z")


def _utc(moment: datetime) -> datetime:
    # Without a zone it stays as it is: who takes it refuses it.
    return moment if moment.tzinfo is None else moment.astimezone(timezone.utc)


WirePublicKey: TypeAlias = Annotated[
    PublicKey,
    PlainValidator(_parse_public_key),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "description": "base64", "pattern": _KEY}),
]
WirePrivateKey: TypeAlias = Annotated[
    PrivateKey,
    PlainValidator(_parse_private_key),
    PlainSerializer(_reveal, return_type=str),
    WithJsonSchema({"type": "string", "description": "base64; a secret", "pattern": _KEY}),
]
WirePresharedKey: TypeAlias = Annotated[
    PresharedKey,
    PlainValidator(parse_preshared_key),
    PlainSerializer(_reveal, return_type=str),
    WithJsonSchema({"type": "string", "description": "base64; a secret", "pattern": _KEY}),
]
WireAddress: TypeAlias = Annotated[
    Address,
    text(parse_address, *get_args(Address)),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}
    ),
]
WireNetwork: TypeAlias = Annotated[
    Network,
    text(parse_network, *get_args(Network)),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["192.168.7.0/24", "fd77::/48"]}),
]
WirePeerEndpoint: TypeAlias = Annotated[
    tuple[str, int],
    PlainValidator(_parse_peer_endpoint),
    PlainSerializer(lambda value: str(Endpoint(*value)), return_type=str),
    WithJsonSchema({"type": "string", "examples": ["site.example.org:51820", "[2001:db8::7]:9"]}),
]
WireEndpoint: TypeAlias = Annotated[
    Endpoint,
    text(Endpoint.parse, Endpoint),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["vpn.example.org:51820"]}),
]
WireName: TypeAlias = Annotated[
    Address | str,
    text(parse_resolver, *get_args(Address)),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "description": "an address, or a domain"}),
]
WireMoment: TypeAlias = Annotated[
    datetime,
    BeforeValidator(_parse_moment),
    PlainSerializer(_utc, return_type=datetime),
]
