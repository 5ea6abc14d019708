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
    SecretStr,
    ValidationInfo,
    field_validator,
)

from wgbind.errors import InputError
from wgbind.settings.address import (
    InterfaceAddress,
    parse_interface_address,
)
from wgbind.settings.api import ApiSettings
from wgbind.settings.client import ClientSettings
from wgbind.settings.device import DeviceSettings
from wgbind.settings.number import MTU_MAX, MTU_MIN_IPV4, MTU_MIN_IPV6, Integer, Mtu
from wgbind.settings.policy import PolicySettings
from wgbind.settings.pool import PoolSettings
from wgbind.settings.routing import TUNNEL_MARK, RoutingSettings
from wgbind.settings.section import MisplacedError, Section, text
from wgbind.settings.service import Service
from wgbind.settings.wg_quick_section import WgQuickSettings


def _parse_key_file(text: str) -> Path:
    if re.fullmatch(r"[A-Za-z0-9+/]{43}=|[0-9a-fA-F]{64}", text):
        raise InputError("this is a key; put it into a file and name that file")
    if not text or not text.isprintable():
        raise InputError(f"{text!r} is not the path of a file")
    return Path(text)


class InterfaceSettings(Section):
    """The tunnel's interface on this host."""

    addresses: tuple[
        Annotated[InterfaceAddress, text(parse_interface_address, *get_args(InterfaceAddress))], ...
    ] = Field(
        min_length=1,
        description="This server's addresses in the tunnel; peers get theirs from the networks.",
    )
    listen_port: Annotated[Integer, Field(ge=0, le=65535)] = Field(
        default=51820,
        description="UDP port; 0 lets the system choose one at each start.",
    )
    mtu: Mtu = Field(
        default=1420,
        description="Largest packet in the tunnel, in bytes.",
    )
    private_key_file: Annotated[Path, text(_parse_key_file, Path)] | None = Field(
        default=None,
        description="File of the private key, if it is not NAME.key beside this file.",
        examples=["wg0.key"],
    )
    fwmark: Annotated[Integer, Field(ge=0, le=0xFFFFFFFF)] = Field(
        default=0,
        description="Firewall mark of the encrypted packets that this host sends; 0 is none.",
    )

    @field_validator("addresses")
    @classmethod
    def _refuse_overlaps(cls, value: tuple[InterfaceAddress, ...]) -> tuple[InterfaceAddress, ...]:
        for one, other in combinations(value, 2):
            if one.ip == other.ip:
                raise ValueError(f"{other.ip} stands there twice; leave one of them out")
            lengths = {one.network.prefixlen, other.network.prefixlen}
            # Several addresses in one network, of which some may be said without it.
            alike = len(lengths) == 1 or one.network.max_prefixlen in lengths
            if not alike and one.network.overlaps(other.network):
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


class StoreSettings(Section):
    """Where the peers are kept."""

    url: SecretStr | None = Field(
        default=None,
        description="Database (SQLAlchemy URL), if it is not the SQLite file of this host.",
        examples=["sqlite:////var/lib/wgbind/wgbind.db"],
    )
    key_file: Annotated[Path, text(_parse_key_file, Path)] | None = Field(
        default=None,
        description="File of the key that clients' private keys are encrypted with, if it is not "
        "stored-private-keys.key beside this file.",
        examples=["/etc/wgbind/stored-private-keys.key"],
    )


class ServerSettings(Section):
    """The settings of one server."""

    interface: InterfaceSettings
    pool: PoolSettings = PoolSettings()
    policy: PolicySettings = PolicySettings()
    routing: RoutingSettings = RoutingSettings()
    client: ClientSettings = ClientSettings()
    store: StoreSettings = StoreSettings()
    device: DeviceSettings = DeviceSettings()
    api: ApiSettings = ApiSettings()
    wg_quick: WgQuickSettings = WgQuickSettings()

    @property
    def fwmark(self) -> int:
        """The firewall mark of the tunnel's own datagrams; 0 is none.

        Where this host's traffic takes the exit, these must be told from it.
        """
        if self.interface.fwmark == 0 and "host" in self.routing.exit:
            return TUNNEL_MARK
        return self.interface.fwmark

    @field_validator("pool")
    @classmethod
    def _refuse_strangers(cls, value: PoolSettings, info: ValidationInfo) -> PoolSettings:
        interface: InterfaceSettings | None = info.data.get("interface")
        if interface is not None:
            value.check(interface.addresses)
        return value

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

    @field_validator("client")
    @classmethod
    def _refuse_unknown_groups(cls, value: ClientSettings, info: ValidationInfo) -> ClientSettings:
        policy: PolicySettings | None = info.data.get("policy")
        for group in value.groups:
            if policy is not None and group not in policy.groups:
                raise MisplacedError(
                    f"there is no group {group!r}; name it in policy.groups first",
                    *("groups", group),
                )
        return value
