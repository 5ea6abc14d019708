"""What the settings of one server say; `toml` reads and writes them.

Each field's description is its comment in a new settings file.
"""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Annotated, get_args

from pydantic import (
    Field,
    PlainSerializer,
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
from wgbind.settings.device import DeviceSettings
from wgbind.settings.policy import PolicySettings
from wgbind.settings.routing import TUNNEL_MARK, RoutingSettings
from wgbind.settings.section import MisplacedError, Section, text
from wgbind.settings.service import Service

MTU_MIN_IPV4 = 576  # what every IPv4 host takes (RFC 791, 3.1)
MTU_MIN_IPV6 = 1280  # RFC 8200, section 5
MTU_MAX = 65456  # with a block of padding and WireGuard's 32 bytes it fits UDP's 65507 (IPv4)


def _parse_dns(text: str) -> Address | str:
    return parse_address(text) if re.fullmatch(r"[0-9.]+|.*:.*", text) else parse_domain(text)


def _parse_key_file(text: str) -> Path:
    if re.fullmatch(r"[A-Za-z0-9+/]{43}=|[0-9a-fA-F]{64}", text):
        raise InputError("this is a key; put it into a file and name that file")
    if not text or not text.isprintable():
        raise InputError(f"{text!r} is not the path of a file")
    return Path(text)


_Integer = Annotated[int, Field(strict=True)]
_Keepalive = Annotated[_Integer, Field(ge=0, le=65535)]
_Mtu = Annotated[_Integer, Field(le=MTU_MAX)]


class InterfaceSettings(Section):
    """The tunnel's interface on this host."""

    addresses: tuple[
        Annotated[InterfaceAddress, text(parse_interface_address, *get_args(InterfaceAddress))], ...
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
    private_key_file: Annotated[Path, text(_parse_key_file, Path)] | None = Field(
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


class ClientSettings(Section):
    """What the configurations say that clients get."""

    endpoint: Annotated[Endpoint, text(Endpoint.parse, Endpoint), PlainSerializer(str)] | None = (
        Field(
            default=None,
            description="Where clients reach this server: host, host:port or [IPv6]:port; "
            "if not set, it is guessed: the address that this host has on its default route.",
            examples=["vpn.example.org"],
        )
    )
    allowed_ips: tuple[Annotated[Network, text(parse_network, *get_args(Network))], ...] = Field(
        default=(parse_network("0.0.0.0/0"), parse_network("::/0")),
        min_length=1,
        description="Networks that clients reach through the tunnel.",
    )
    dns: tuple[Annotated[Address | str, text(_parse_dns, *get_args(Address))], ...] = Field(
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


class StoreSettings(Section):
    """Where the peers are kept."""

    url: SecretStr | None = Field(
        default=None,
        description="Database (SQLAlchemy URL), if it is not the SQLite file of this host.",
        examples=["sqlite:////var/lib/wgbind/wgbind.db"],
    )


class ServerSettings(Section):
    """The settings of one server."""

    interface: InterfaceSettings
    policy: PolicySettings = PolicySettings()
    routing: RoutingSettings = RoutingSettings()
    client: ClientSettings = ClientSettings()
    store: StoreSettings = StoreSettings()
    device: DeviceSettings = DeviceSettings()

    @property
    def fwmark(self) -> int:
        """The firewall mark of the tunnel's own datagrams; 0 is none.

        Where this host's traffic takes the exit, these must be told from it.
        """
        if self.interface.fwmark == 0 and "host" in self.routing.exit:
            return TUNNEL_MARK
        return self.interface.fwmark

    @field_validator("policy")
    @classmethod
    def _refuse_conflicts(cls, value: PolicySettings, info: ValidationInfo) -> PolicySettings:
        interface: InterfaceSettings | None = info.data.get("interface")
        if interface is None:
            return value
        for name, network in value.networks.items():
            for prefix in network.prefixes:
                for address in interface.addresses:
                    if prefix.overlaps(address.network):
                        raise MisplacedError(
                            f"{prefix} overlaps the tunnel's own {address.network}, where peers "
                            "are; name networks outside the tunnel",
                            *("networks", name),
                        )
        own = Service("udp", interface.listen_port, interface.listen_port)
        for number, forward in enumerate(value.forwards):
            if forward.service.covers(own):
                raise MisplacedError(
                    f"{str(forward)!r} would take the port of this server itself; leave out "
                    f"udp/{interface.listen_port}",
                    *("forwards", number),
                )
        return value

    @field_validator("routing")
    @classmethod
    def _refuse_unknown_names(cls, value: RoutingSettings, info: ValidationInfo) -> RoutingSettings:
        policy: PolicySettings | None = info.data.get("policy")
        if policy is not None:
            value.check(policy.groups, tuple(policy.networks))
        return value
