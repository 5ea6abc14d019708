"""The section [client]: what the configurations say that clients get."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    ValidationError,
    WithJsonSchema,
)

from wgbind.errors import InputError
from wgbind.settings.address import (
    Address,
    Endpoint,
    Network,
    parse_address,
    parse_domain,
    parse_network,
)
from wgbind.settings.mistake import explain
from wgbind.settings.number import MTU_MIN_IPV6, Keepalive, Mtu
from wgbind.settings.reference import NAME_PATTERN, parse_name
from wgbind.settings.section import MisplacedError, Section, as_value_error, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FULL, SPLIT, DEFAULT, ALL = "full", "split", "default", "all"
_WORDS = ([FULL], [SPLIT])
_NUMBERS = {"mtu", "persistent_keepalive"}

_NETWORKS_SCHEMA = {"type": "array", "items": {"type": "string"}}


def _split_commas(texts: Iterable[str]) -> list[str]:
    return [part.strip() for text in texts for part in text.split(",")]


def parse_resolver(value: str) -> Address | str:
    """Parse the address of a name server, or a domain to search; raise `InputError`."""
    return parse_address(value) if re.fullmatch(r"[0-9.]+|.*:.*", value) else parse_domain(value)


def _parse_networks(value: object) -> tuple[Network, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{value!r} is not a list in [ ]")  # noqa: TRY004  pydantic's way
    return tuple(_parse_item(number, each) for number, each in enumerate(value))


def _parse_item(number: int, value: object) -> Network:
    try:
        return parse_network(str(value))
    except InputError as error:
        raise MisplacedError(str(error), number) from None


def _parse_allowed_ips(value: object) -> object:
    if value in (FULL, SPLIT):
        return value
    if not isinstance(value, list | tuple):
        raise ValueError(  # noqa: TRY004  pydantic's way
            f"{value!r} is neither {FULL} nor {SPLIT} nor a list of networks in [ ]"
        )
    networks = _parse_networks(value)
    if not networks:
        raise ValueError("it is empty; give one at least")
    return networks


def _endpoint_name(value: str) -> str:
    with as_value_error():
        if value == ALL:
            raise InputError(f"{value!r} stands for every endpoint; choose another name")
        return parse_name(value, "endpoint")


def _as_setting(value: str | tuple[Network, ...]) -> str | list[str]:
    return value if isinstance(value, str) else list(map(str, value))


_AllowedIps: TypeAlias = Annotated[
    Literal["full", "split"] | tuple[Network, ...],
    PlainValidator(_parse_allowed_ips),
    PlainSerializer(_as_setting),
    WithJsonSchema({"anyOf": [{"enum": [FULL, SPLIT]}, {**_NETWORKS_SCHEMA, "minItems": 1}]}),
]
_ExcludedIps: TypeAlias = Annotated[
    tuple[Network, ...],
    PlainValidator(_parse_networks),
    PlainSerializer(_as_setting),
    WithJsonSchema(_NETWORKS_SCHEMA),
]
_Dns: TypeAlias = tuple[
    Annotated[
        Address | str,
        text(parse_resolver, *get_args(Address)),
        PlainSerializer(str),
        WithJsonSchema({"type": "string"}),
    ],
    ...,
]
_ClientMtu: TypeAlias = Annotated[Mtu, Field(ge=MTU_MIN_IPV6)]

_Endpoint: TypeAlias = Annotated[
    Endpoint,
    text(Endpoint.parse, Endpoint),
    PlainSerializer(str),
    WithJsonSchema({"type": "string"}),
]
_EndpointName: TypeAlias = Annotated[
    str,
    AfterValidator(_endpoint_name),
    WithJsonSchema({"type": "string", "pattern": NAME_PATTERN}),
]

_ALLOWED_IPS = (
    'Networks that clients reach through the tunnel: "full" (all), "split" (the tunnel\'s, those '
    "behind other peers and those of the policy), or a list."
)
_EXCLUDED_IPS = "Networks that they do not reach through the tunnel though they lie in those."
_DNS = "Name servers, and domains to search."
_KEEPALIVE = "Seconds between packets that keep a client's NAT open; 0 is off."
_MTU = "Clients' MTU, if they shall not find it out themselves."


class ClientOverrides(Section):
    """What some clients get instead; None is what the others get."""

    allowed_ips: _AllowedIps | None = Field(default=None, description=_ALLOWED_IPS)
    excluded_ips: _ExcludedIps | None = Field(default=None, description=_EXCLUDED_IPS)
    dns: _Dns | None = Field(default=None, description=_DNS)
    persistent_keepalive: Keepalive | None = Field(default=None, description=_KEEPALIVE)
    mtu: _ClientMtu | None = Field(default=None, description=_MTU)

    def changed(self, **texts: Sequence[str] | None) -> ClientOverrides:
        """Return it with the fields of these names read from texts.

        The one text "default" makes a field None, None leaves it as it is. Raises `InputError`.
        """
        values = {name: _value(name, _split_commas(said)) for name, said in texts.items() if said}
        try:
            return ClientOverrides.model_validate(dict(self) | values)
        except ValidationError as error:
            mistake = error.errors()[0]
            explained = explain(mistake, ClientOverrides)
            raise InputError(f"{mistake['loc'][0]}: {explained}") from None


def _value(name: str, words: list[str]) -> object:
    if words == [DEFAULT]:
        return None
    if name in _NUMBERS:
        return int(words[0]) if len(words) == 1 and words[0].isdecimal() else " ".join(words)
    return words[0] if words in _WORDS else words


class ClientSettings(Section):
    """What the configurations say that clients get."""

    endpoint: _Endpoint | None = Field(
        default=None,
        description="Where clients reach this server: host, host:port or [IPv6]:port; "
        "if not set, it is guessed: the address that this host has on its default route.",
        examples=["vpn.example.org"],
    )
    allowed_ips: _AllowedIps = Field(default="full", description=_ALLOWED_IPS)
    excluded_ips: _ExcludedIps = Field(default=(), description=_EXCLUDED_IPS)
    dns: _Dns = Field(default=(), description=_DNS)
    persistent_keepalive: Keepalive = Field(default=25, description=_KEEPALIVE)
    mtu: _ClientMtu | None = Field(default=None, description=_MTU, examples=[1420])
    store_private_keys: StrictBool = Field(
        default=False,
        description="Keep the private keys made for clients, to show their configurations again. "
        "They stand in the store encrypted, with the key in the file store.key_file.",
    )
    endpoints: dict[_EndpointName, _Endpoint] = Field(
        default={},
        description="Other ways to this server, each by a name; `wgbind peer config --endpoint "
        "NAME` writes a configuration for one of them, `--endpoint all` one for each.",
        examples=[{"v4": "203.0.113.7", "v6": "[2001:db8::7]:51820"}],
    )
    groups: dict[str, ClientOverrides] = Field(
        default={},
        description="What the clients of a group get instead of the above; of several groups, the "
        "first in policy.groups decides.",
        examples=[{"guests": {"allowed_ips": "full", "excluded_ips": ["192.168.0.0/16"]}}],
    )
