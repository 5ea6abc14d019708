"""What the settings of one server say; `toml` reads and writes them.

Each field's description is its comment in a new settings file.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    StrictBool,
    ValidationInfo,
    field_validator,
)

from wgbind.errors import InputError
from wgbind.settings.address import (
    Address,
    Endpoint,
    InterfaceAddress,
    Network,
    parse_address,
    parse_domain,
    parse_interface_address,
    parse_network,
)
from wgbind.settings.paths import parse_interface_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MTU_MIN_IPV4 = 576  # what every IPv4 host takes (RFC 791, 3.1)
MTU_MIN_IPV6 = 1280  # RFC 8200, section 5
MTU_MAX = 65456  # with a block of padding and WireGuard's 32 bytes it fits UDP's 65507 (IPv4)


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Let pydantic see our errors: it collects `ValueError` only."""
    try:
        yield
    except InputError as error:
        raise ValueError(str(error)) from None


def _text(parse: Callable[[str], object], *types: type) -> PlainValidator:
    """Parse text; what is of one of `types` already is held to the same rules."""

    def validate(value: object) -> object:
        if not isinstance(value, (str, *types)):
            raise ValueError(f"{value!r} is not text in quotes")  # noqa: TRY004  pydantic's way
        with _as_value_error():
            return parse(str(value))

    return PlainValidator(validate)


def _parse_dns(text: str) -> Address | str:
    return parse_address(text) if re.fullmatch(r"[0-9.]+|.*:.*", text) else parse_domain(text)


def _parse_key_file(text: str) -> Path:
    if re.fullmatch(r"[A-Za-z0-9+/]{43}=|[0-9a-fA-F]{64}", text):
        raise InputError("this is a key; put it into a file and name that file")
    if not text or not text.isprintable():
        raise InputError(f"{text!r} is not the path of a file")
    return Path(text)


_IPS = (IPv4Address, IPv6Address)
_INTERFACES = (IPv4Interface, IPv6Interface)
_NETWORKS = (IPv4Network, IPv6Network)

_Integer = Annotated[int, Field(strict=True)]
_Keepalive = Annotated[_Integer, Field(ge=0, le=65535)]
_Mtu = Annotated[_Integer, Field(le=MTU_MAX)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class InterfaceSettings(_Section):
    """The tunnel's interface on this host."""

    addresses: tuple[
        Annotated[InterfaceAddress, _text(parse_interface_address, *_INTERFACES)], ...
    ] = Field(
        min_length=1,
        description="This server's addresses in the tunnel; peers get theirs from the networks.",
    )
    listen_port: Annotated[_Integer, Field(ge=0, le=65535)] = Field(
        default=51820,
        description="UDP port; 0 lets the system choose one at each start.",
    )
    mtu: _Mtu = Field(
        default=1420,
        description="Largest packet in the tunnel, in bytes.",
    )
    private_key_file: Annotated[Path, _text(_parse_key_file, Path)] | None = Field(
        default=None,
        description="File of the private key, if it is not NAME.key beside this file.",
        examples=["wg0.key"],
    )
    fwmark: Annotated[_Integer, Field(ge=0, le=0xFFFFFFFF)] = Field(
        default=0,
        description="Firewall mark of the encrypted packets that this host sends; 0 is none.",
    )

    @field_validator("addresses")
    @classmethod
    def _refuse_overlaps(cls, value: tuple[InterfaceAddress, ...]) -> tuple[InterfaceAddress, ...]:
        for one, other in combinations(value, 2):
            if one.network.overlaps(other.network):
                raise ValueError(f"{other} overlaps {one}; use networks apart from each other")
        return value

    @field_validator("mtu")
    @classmethod
    def _require_room(cls, value: int, info: ValidationInfo) -> int:
        addresses: tuple[InterfaceAddress, ...] = info.data.get("addresses", ())
        ipv6 = any(address.version == 6 for address in addresses)
        minimum = MTU_MIN_IPV6 if ipv6 else MTU_MIN_IPV4
        if value < minimum:
            raise ValueError(
                f"{value} is too small for IPv{6 if ipv6 else 4}; use {minimum} to {MTU_MAX}"
            )
        return value


class GatewaySettings(_Section):
    """What peers may reach beyond the tunnel."""

    enabled: StrictBool = Field(
        default=True,
        description="Peers reach other networks through this host, with its address (NAT).",
    )
    egress: Literal["auto", "any"] | tuple[str, ...] = Field(
        default="auto",
        description='Interfaces to those networks: "auto" (where the default routes go), "any", '
        'or a list such as ["eth0"].',
    )
    peer_to_peer: StrictBool = Field(
        default=True,
        description="Peers reach each other, inside the server: where nothing else is to be done "
        "to their packets, the packet filters of this host do not see them.",
    )
    host: StrictBool = Field(
        default=True,
        description="Peers reach the services of this host itself.",
    )

    @field_validator("egress", mode="before")
    @classmethod
    def _parse_egress(cls, value: object) -> object:
        with _as_value_error():
            if value in ("auto", "any"):
                return value
            if isinstance(value, list | tuple) and value and all(isinstance(i, str) for i in value):
                return tuple(parse_interface_name(name) for name in value)
            raise InputError(f'{value!r} is neither "auto" nor "any" nor a list of interfaces')


class ClientSettings(_Section):
    """What the configurations say that clients get."""

    endpoint: Annotated[Endpoint, _text(Endpoint.parse, Endpoint), PlainSerializer(str)] | None = (
        Field(
            default=None,
            description="Where clients reach this server: host, host:port or [IPv6]:port; "
            "if not set, it is guessed: the address that this host has on its default route.",
            examples=["vpn.example.org"],
        )
    )
    allowed_ips: tuple[Annotated[Network, _text(parse_network, *_NETWORKS)], ...] = Field(
        default=(parse_network("0.0.0.0/0"), parse_network("::/0")),
        min_length=1,
        description="Networks that clients reach through the tunnel.",
    )
    dns: tuple[Annotated[Address | str, _text(_parse_dns, *_IPS)], ...] = Field(
        default=(),
        description="Name servers, and domains to search.",
    )
    persistent_keepalive: _Keepalive = Field(
        default=25,
        description="Seconds between packets that keep a client's NAT open; 0 is off.",
    )
    mtu: Annotated[_Mtu, Field(ge=MTU_MIN_IPV6)] | None = Field(
        default=None,
        description="Clients' MTU, if they shall not find it out themselves.",
        examples=[1420],
    )
    store_private_keys: StrictBool = Field(
        default=False,
        description="Keep the private keys made for clients, to show their configurations again. "
        "They stand unencrypted in the store, which only its owner can read.",
    )


class StoreSettings(_Section):
    """Where the peers are kept."""

    url: SecretStr | None = Field(
        default=None,
        description="Database (SQLAlchemy URL), if it is not the SQLite file of this host.",
        examples=["sqlite:////var/lib/wgbind/wgbind.db"],
    )


class ServerSettings(_Section):
    """The settings of one server."""

    interface: InterfaceSettings
    gateway: GatewaySettings = GatewaySettings()
    client: ClientSettings = ClientSettings()
    store: StoreSettings = StoreSettings()
