"""The section [policy]: who reaches whom through the tunnel."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from wgbind.errors import InputError
from wgbind.settings.address import Network, parse_network
from wgbind.settings.forward import Forward
from wgbind.settings.paths import parse_interface_name
from wgbind.settings.reference import NAME_PATTERN, Vocabulary, parse_name
from wgbind.settings.rule import Rule
from wgbind.settings.section import MisplacedError, Section, as_value_error, text
from wgbind.settings.service import PROTOCOLS, Service, parse_services

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.config import JsonDict
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

Preset: TypeAlias = Literal["gateway", "hub", "isolated", "site"]

PRESETS: tuple[Preset, ...] = get_args(Preset)


def _group_name(value: str) -> str:
    with as_value_error():
        return parse_name(value, "group")


def _network_name(value: str) -> str:
    with as_value_error():
        return parse_name(value, "network")


def _service_name(value: str) -> str:
    with as_value_error():
        if value in PROTOCOLS:
            raise InputError(f"service {value!r}: this is a protocol; choose another name")
        return parse_name(value, "service")


def _parse_service_list(value: object) -> tuple[Service, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f'{value!r} is not a list of services, such as ["tcp/80", "udp/443"]')
    with as_value_error():
        found = (service for each in value for service in parse_services(str(each), {}))
        return tuple(dict.fromkeys(found))


def _vocabulary(info: ValidationInfo) -> Vocabulary | None:
    """Return the names that were read before; None if there is a mistake in them."""
    data = info.data
    if not {"groups", "networks", "services"} <= data.keys():
        return None
    return Vocabulary(data["groups"], tuple(data["networks"]), data["services"])


def _in_words(kind: type[Rule | Forward]) -> PlainValidator:
    """Read text or a table with the names that the section itself gives."""

    def validate(value: object, info: ValidationInfo) -> object:
        vocabulary = _vocabulary(info)
        if vocabulary is None:
            return value  # the names are refused already, and the section with them
        with as_value_error():
            if isinstance(value, kind):
                return value.checked(vocabulary)
            if isinstance(value, str):
                return kind.parse(value, vocabulary)
            if isinstance(value, dict):
                return kind.of_table(value, vocabulary)
        raise ValueError(f"{value!r} is neither text in quotes nor a table")

    return PlainValidator(validate)


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


_NAME_SCHEMA = WithJsonSchema({"type": "string", "pattern": NAME_PATTERN})

_TEXTS: JsonDict = {"type": "array", "items": {"type": "string"}, "minItems": 1}

_PRESET_SCHEMA: JsonDict = {
    "anyOf": [
        {"enum": list(PRESETS)},
        {"type": "array", "items": {"enum": list(PRESETS)}},
    ]
}

_RULE_SCHEMA: JsonDict = {
    "anyOf": [
        {
            "type": "string",
            "pattern": r"^\s*(allow|deny)\s.+(->|→).+$",
            "description": "allow|deny FROM[, FROM] -> TO[, TO] [: SERVICE[, SERVICE]] [log]",
        },
        {
            "type": "object",
            "properties": {
                "action": {"enum": ["allow", "deny"]},
                "from": _TEXTS,
                "to": _TEXTS,
                "services": _TEXTS,
                "log": {"type": "boolean", "default": False},
                "name": {"type": "string"},
            },
            "required": ["action", "from", "to"],
            "additionalProperties": False,
        },
    ]
}

_FORWARD_SCHEMA: JsonDict = {
    "anyOf": [
        {
            "type": "string",
            "pattern": r"^.+(->|→).+$",
            "description": "PROTOCOL/PORT[-PORT] -> peer:NAME|ADDRESS [: PORT] [masquerade]",
        },
        {
            "type": "object",
            "properties": {
                "service": {"type": "string"},
                "to": {"type": "string"},
                "port": {"type": "integer", "minimum": 1, "maximum": 65535},
                "masquerade": {"type": "boolean", "default": False},
            },
            "required": ["service", "to"],
            "additionalProperties": False,
        },
    ]
}


def _as_setting(value: Rule | Forward) -> str | dict[str, object]:
    return value.as_setting()


_SETTING = PlainSerializer(_as_setting)


class NetworkSettings(Section):
    """A network outside the tunnel that rules call by a name; a list is its prefixes alone."""

    prefixes: tuple[
        Annotated[
            Network,
            text(parse_network, *get_args(Network)),
            PlainSerializer(str),
            WithJsonSchema({"type": "string", "examples": ["192.168.7.0/24", "fd07::/64"]}),
        ],
        ...,
    ] = Field(min_length=1, description="Its prefixes.")
    nat: StrictBool | None = Field(
        default=None,
        description="Peers appear there with this host's address; "
        "by default so, unless the preset is site.",
    )
    interface: str | None = Field(
        default=None,
        description="Where it is, if its addresses count there only.",
    )

    def as_setting(self) -> tuple[Network, ...] | dict[str, object]:
        """Return the form for the settings file: the prefixes, or a table if it says more."""
        said = {key: value for key, value in self if value is not None}
        return self.prefixes if said.keys() == {"prefixes"} else said

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        table = handler.resolve_ref_schema(handler(core_schema))
        return {"anyOf": [table["properties"]["prefixes"], table]}

    @model_validator(mode="before")
    @classmethod
    def _accept_list(cls, value: object) -> object:
        return {"prefixes": value} if isinstance(value, list | tuple) else value

    @field_validator("interface")
    @classmethod
    def _parse_interface(cls, value: str | None) -> str | None:
        with as_value_error():
            return None if value is None else parse_interface_name(value)

    @field_validator("prefixes")
    @classmethod
    def _refuse_default_routes(cls, value: tuple[Network, ...]) -> tuple[Network, ...]:
        for prefix in value:
            if prefix.prefixlen == 0:
                raise ValueError(f"{prefix} is every address; rules call that internet")
        return value


class PolicySettings(Section):
    """Who reaches whom through the tunnel. What no rule allows is denied."""

    preset: Annotated[tuple[Preset, ...], WithJsonSchema(_PRESET_SCHEMA)] = Field(
        default=("gateway",),
        description="Rules in a word, after your own. gateway: peers reach the internet with this "
        "host's address (NAT). hub: peers reach each other. site: peers and the networks below "
        "reach each other without NAT. isolated: peers reach nothing. All but isolated let peers "
        "ping this host; this host reaches its peers. What no rule allows is denied.",
    )
    groups: tuple[Annotated[str, AfterValidator(_group_name), _NAME_SCHEMA], ...] = Field(
        default=(),
        description='Groups that peers may be in, such as ["staff", "guests"].',
    )
    networks: dict[Annotated[str, AfterValidator(_network_name), _NAME_SCHEMA], NetworkSettings] = (
        Field(
            default={},
            description="Networks outside the tunnel, by the names that rules use.",
            examples=[{"lan": ["192.168.7.0/24", "fd07::/64"]}],
        )
    )
    services: dict[
        Annotated[str, AfterValidator(_service_name), _NAME_SCHEMA],
        Annotated[
            tuple[Service, ...],
            PlainValidator(_parse_service_list),
            PlainSerializer(lambda services: list(map(str, services))),
            WithJsonSchema(_TEXTS),
        ],
    ] = Field(
        default={},
        description="Services of your own, beside ssh, dns, https and other well-known ones.",
        examples=[{"web": ["tcp/80", "tcp/443", "udp/443"]}],
    )
    rules: tuple[
        Annotated[Rule, _in_words(Rule), _SETTING, WithJsonSchema(_RULE_SCHEMA)],
        ...,
    ] = Field(
        default=(),
        description='Your own rules, such as "allow staff -> lan : ssh, ping" and '
        '"deny guests -> internet : smtp log"; the first that matches decides.',
    )
    forwards: tuple[
        Annotated[Forward, _in_words(Forward), _SETTING, WithJsonSchema(_FORWARD_SCHEMA)], ...
    ] = Field(
        default=(),
        description='Ports of this host that lead to a peer: "tcp/8080 -> peer:web : 80".',
    )
    connection_limit: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None,
        description="New connections that each address of a peer may begin in a second.",
        examples=[50],
    )

    @property
    def vocabulary(self) -> Vocabulary:
        """The names that its rules may use."""
        return Vocabulary(self.groups, tuple(self.networks), self.services)

    @field_validator("preset", mode="before")
    @classmethod
    def _parse_preset(cls, value: object) -> object:
        presets = _one_or_many(value)
        if not isinstance(presets, list | tuple):
            return presets
        for preset in presets:
            if preset not in PRESETS:
                raise ValueError(f"there is no preset {preset!r}; there are {', '.join(PRESETS)}")
        if "isolated" in presets and len(presets) > 1:
            raise ValueError("isolated allows nothing that others allow; leave it or them out")
        return tuple(dict.fromkeys(presets))

    @field_validator("groups")
    @classmethod
    def _refuse_repetition(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one, other in combinations(value, 2):
            if one == other:
                raise ValueError(f"{one!r} stands there twice; leave one out")
        return value

    @field_validator("networks")
    @classmethod
    def _refuse_collisions(
        cls, value: dict[str, NetworkSettings], info: ValidationInfo
    ) -> dict[str, NetworkSettings]:
        for name in value:
            if name in info.data.get("groups", ()):
                raise MisplacedError(
                    f"{name!r} is a group, too; rules could not tell them apart: rename one", name
                )
        prefixes = [
            (name, prefix) for name, network in value.items() for prefix in network.prefixes
        ]
        for (one, prefix), (other, wider) in combinations(prefixes, 2):
            if prefix.overlaps(wider):
                whose = "its own" if one == other else f"{one}'s"
                raise MisplacedError(
                    f"{wider} overlaps {whose} {prefix}; use networks apart from each other", other
                )
        return value

    @field_validator("forwards")
    @classmethod
    def _refuse_shadowed(cls, value: tuple[Forward, ...]) -> tuple[Forward, ...]:
        for (_, one), (number, other) in combinations(enumerate(value), 2):
            if not (isinstance(one, Forward) and isinstance(other, Forward)):
                break  # refused already
            if one.clashes(other):
                raise MisplacedError(
                    f"{str(other)!r} wants ports that {str(one)!r} has; give each port once", number
                )
        return value
