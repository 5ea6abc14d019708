"""The section [routing]: by which ways traffic leaves this host."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    field_validator,
)

from wgbind.errors import InputError
from wgbind.settings.address import Address, parse_address
from wgbind.settings.paths import parse_interface_name
from wgbind.settings.section import MisplacedError, Section, as_value_error, text

EXIT = "exit"
"""The way out through the peer that has a default route."""

EXIT_USERS = ("peers", "host")
"""Whose traffic may take the exit, beside that of named networks."""

TUNNEL_MARK = 0x5747
"""The mark of the tunnel's own datagrams, where they need one and the settings say none."""

MAX_UPLINKS = 200  # a server has 255 tables of its own, and one mark in 255 for each

_RESERVED_TABLES = {0, 253, 255}  # unspec, default and local (linux/rtnetlink.h)
_MAIN_TABLE = 254


def _parse_table(value: object) -> object:
    if value == "main" or value == _MAIN_TABLE:
        return "main"
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f'{value!r} is neither "main" nor a number')  # noqa: TRY004
    if not 0 < value < 2**32 or value in _RESERVED_TABLES:
        raise ValueError(f"{value} is no table to use; take another from 1 to 4294967295")
    return value


def _interface(value: str) -> str:
    with as_value_error():
        return parse_interface_name(value)


_Table: TypeAlias = Annotated[
    Literal["main"] | int,
    PlainValidator(_parse_table),
    WithJsonSchema({"anyOf": [{"const": "main"}, {"type": "integer"}]}),
]
_Gateway: TypeAlias = Annotated[
    Address,
    text(parse_address, *get_args(Address)),
    PlainSerializer(str),
    WithJsonSchema({"type": "string"}),
]
_Number: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=0xFFFFFFFF)]


class RoutingSettings(Section):
    """By which ways traffic leaves this host."""

    egress: Literal["auto", "any"] | tuple[str, ...] = Field(
        default="auto",
        description='Interfaces to the internet: "auto" (where the default routes go), "any", '
        'or a list such as ["eth0"].',
    )
    table: _Table = Field(
        default="main",
        description="Routing table of the routes to the networks behind peers.",
    )
    metric: _Number | None = Field(
        default=None,
        description="Metric of these routes, if others lead there too: the lower wins.",
        examples=[100],
    )
    fwmark: _Number | None = Field(
        default=None,
        description="Packets with this firewall mark look into that table, if it is not main.",
        examples=[100],
    )
    exit: tuple[str, ...] = Field(
        default=(),
        description="Whose traffic to the internet goes through the peer with the routed network "
        '0.0.0.0/0 or ::/0: "peers" (the others), "host" (this host), names of networks. While '
        "that peer is missing they reach no internet at all.",
    )
    uplinks: dict[Annotated[str, AfterValidator(_interface)], tuple[_Gateway, ...]] = Field(
        default={},
        description="Interfaces with an internet access of their own and the gateways there; [] "
        "takes those of the default routes. Answers leave by the uplink that was asked.",
        examples=[{"eth1": ["203.0.113.1", "2001:db8::1"]}],
    )
    egress_for: dict[str, str] = Field(
        default={},
        description="The uplink, or exit, by which the peers of a group reach the internet.",
        examples=[{"guests": "eth1"}],
    )

    @field_validator("egress", mode="before")
    @classmethod
    def _parse_egress(cls, value: object) -> object:
        with as_value_error():
            if value in ("auto", "any"):
                return value
            if isinstance(value, list | tuple) and value and all(isinstance(i, str) for i in value):
                return tuple(parse_interface_name(name) for name in value)
            raise InputError(f'{value!r} is neither "auto" nor "any" nor a list of interfaces')

    @field_validator("uplinks")
    @classmethod
    def _refuse_ambiguity(
        cls, value: dict[str, tuple[Address, ...]]
    ) -> dict[str, tuple[Address, ...]]:
        if len(value) > MAX_UPLINKS:
            raise ValueError(f"{len(value)} uplinks are too many; name {MAX_UPLINKS} at most")
        for name, gateways in value.items():
            if name == EXIT:
                raise MisplacedError(f"{EXIT!r} is the way through a peer; rename this one", name)
            versions = [gateway.version for gateway in gateways]
            if len(versions) > len(set(versions)):
                raise MisplacedError("two gateways of one family; leave one out", name)
        return value

    def check(self, groups: tuple[str, ...], networks: tuple[str, ...]) -> None:
        """Refuse names that the policy does not have; raise `MisplacedError`."""
        for number, user in enumerate(self.exit):
            if user not in (*EXIT_USERS, *networks):
                known = ", ".join((*EXIT_USERS, *networks))
                raise MisplacedError(
                    f"{user!r} is not a network of [policy.networks]; there are {known}",
                    *("exit", number),
                )
        for group, way in self.egress_for.items():
            if group not in groups:
                raise MisplacedError(
                    f"there is no group {group!r}; name it in policy.groups first",
                    *("egress_for", group),
                )
            if way not in (EXIT, *self.uplinks):
                raise MisplacedError(
                    f"{way!r} is neither {EXIT} nor in [routing.uplinks]; name it there first",
                    *("egress_for", group),
                )
        if isinstance(self.egress, tuple):
            for uplink in self.uplinks:
                if uplink not in self.egress:
                    raise MisplacedError(
                        f"{uplink} is not in routing.egress, so nothing would leave there; "
                        "name it there too",
                        *("uplinks", uplink),
                    )
