"""The document: what its author wants a server to be. What it does not name, it leaves alone."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    StrictBool,
    ValidationError,
    WithJsonSchema,
)
from typing_extensions import Self

from wgbind.api.wire import (
    WireAddress,
    WireNetwork,
    WirePeerEndpoint,
    WirePrivateKey,
    WirePublicKey,
    parse_preshared_key,
)
from wgbind.apply import source
from wgbind.apply.source import Source
from wgbind.errors import InputError, WgbindError
from wgbind.keys import PresharedKey
from wgbind.settings.client import DEFAULT, ClientOverrides
from wgbind.settings.mistake import mistakes_of
from wgbind.settings.number import Keepalive
from wgbind.settings.section import Section, as_value_error
from wgbind.store.expiry import parse_expiry, utc_text

NONE, NEVER = "none", "never"

LIVE = ("policy", "pool", "client")
"""The sections of the settings that the API takes: what peers get, and may.

The others say who may use the API, what runs as root, which files are read, and where the server
is: they are for who may write the server's files.
"""


def _parse_preshared_key(value: object) -> PresharedKey | bool:
    return value if isinstance(value, bool) else parse_preshared_key(value)


def _preshared_key_text(value: PresharedKey | bool) -> str | bool:
    return value if isinstance(value, bool) else value.reveal()


def _parse_expiry(value: object) -> datetime | None:
    if value is None or value == NEVER:
        return None
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc).replace(microsecond=0)
    if isinstance(value, date):  # through its end
        return datetime.combine(value + timedelta(days=1), time(), timezone.utc)
    text = str(value)
    with as_value_error():
        if "-" not in text:  # a span would mean another moment at each run
            raise InputError(
                f"{text!r} is no day and no time; write one such as 2026-12-31 or "
                "2026-12-31T18:00:00Z, or never"
            )
        return parse_expiry(text, datetime.now(timezone.utc))


def _none_as_null(value: object) -> object:
    return None if value == NONE else value


def _defaults_as_null(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {key: None if each == DEFAULT else each for key, each in value.items()}


_PresharedKey: TypeAlias = Annotated[
    PresharedKey | bool,
    PlainValidator(_parse_preshared_key),
    PlainSerializer(_preshared_key_text),
    WithJsonSchema({"type": ["boolean", "string"]}),
]
_Expiry: TypeAlias = Annotated[
    datetime | None,
    PlainValidator(_parse_expiry),
    PlainSerializer(lambda moment: NEVER if moment is None else utc_text(moment)),
    WithJsonSchema({"type": ["string", "null"], "examples": ["2026-12-31", NEVER]}),
]
_Endpoint: TypeAlias = Annotated[
    WirePeerEndpoint | None,
    BeforeValidator(_none_as_null),
    WithJsonSchema(
        {"type": ["string", "null"], "examples": ["site.example.org:51820", "[2001:db8::7]:9"]}
    ),
]


class PeerDocument(Section):
    """A peer; what is not named stays as it is, or is the default for a new one."""

    public_key: WirePublicKey | None = Field(
        default=None, description="Its key; without one, a new peer gets a key pair."
    )
    private_key: WirePrivateKey | None = Field(
        default=None,
        description="A secret: the key whose public one that is. It is kept only if the settings "
        "say client.store_private_keys.",
    )
    preshared_key: _PresharedKey = Field(
        default=True,
        description="true: it has one, made if there is none; false: none; or the key, a secret.",
    )
    addresses: tuple[WireAddress, ...] | None = Field(
        default=None,
        description="Its addresses in the tunnel; without them, a new peer gets the next free.",
    )
    routed_networks: tuple[WireNetwork, ...] = Field(
        default=(), description="Networks behind it that are reached through it."
    )
    groups: tuple[str, ...] = Field(
        default=(), description="The groups that it is in, all of them; see policy.groups."
    )
    endpoint: _Endpoint = Field(
        default=None, description='Where it listens, "host:port"; "none" forgets it.'
    )
    persistent_keepalive: Keepalive = Field(
        default=0, description="Seconds between packets that the server sends it; 0 is off."
    )
    client: Annotated[ClientOverrides, BeforeValidator(_defaults_as_null)] = Field(
        default=ClientOverrides(),
        description="What its own configuration says other than those of the others; null or "
        '"default" is what the others get.',
    )
    description: str = Field(default="", description="One line about it.", strict=True)
    notes: str = Field(default="", description="Any number of lines about it.", strict=True)
    enabled: StrictBool = Field(default=True, description="false: it is served no more.")
    expires_at: _Expiry = Field(
        default=None,
        description='When it is served no more: a day (through its end, UTC), a time, or "never".',
    )


class Document(Section):
    """What shall be; a section, key or peer that is not named stays as it is."""

    settings: dict[str, dict[str, Any]] = Field(
        default={},
        description="Sections of the server's settings, as in its file; null takes a key away.",
    )
    peers: dict[str, PeerDocument] | None = Field(
        default=None, description="Peers, by name. --prune removes those that are not here."
    )
    _source: Source = PrivateAttr(default=Source())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file in TOML, YAML or JSON, by its suffix.

        Raises `InputError` ("FILE:LINE: key KEY: what is wrong; remedy"), `OSError`.
        """
        return cls.of(*source.read(path))

    @classmethod
    def parse(cls, text: str, name: str = "standard input") -> Self:
        """Read a text in TOML, YAML or JSON; raises as `read` does."""
        return cls.of(*source.parse(name, text))

    @classmethod
    def of(cls, data: object, source: Source | None = None) -> Self:
        """Take plain values, such as `json.load` returns; raises `InputError`."""
        found = source or Source()
        try:
            document = cls.model_validate(data)
        except ValidationError as error:
            mistake = mistakes_of(error, cls, found.lines())[0]
            raise InputError(f"{found.place(mistake.line)}{mistake.message}") from None
        document._source = found
        return document

    @property
    def source(self) -> Source:
        """Where it comes from."""
        return self._source

    @property
    def is_live(self) -> bool:
        """Whether it names no section of the settings that the API does not take."""
        return self.settings.keys() <= set(LIVE)

    def require_live(self) -> None:
        """Refuse a section of the settings that the API does not take; raise `InputError`."""
        for name in self.settings:
            if name not in LIVE:
                raise InputError(
                    f"{self.source.at('settings', name)}key settings.{name}: the API takes the "
                    f"sections {', '.join(LIVE)}; `wgbind apply` takes it from who may write the "
                    "server's files"
                )

    @contextmanager
    def located(self) -> Iterator[None]:
        """Say where in its file that stands which a server refuses, who does not have the file."""
        try:
            yield
        except WgbindError as error:
            place = self._place_of(error)
            if not place:
                raise
            raise type(error)(f"{place}{error}") from None

    def _place_of(self, error: WgbindError) -> str:
        names = list(self.peers or ())
        if error.item is not None and error.item < len(names):
            return self.source.at("peers", names[error.item])
        key = re.match(r"key (settings[^\s:]*): ", str(error))
        return self.source.at(*key[1].split(".")) if key else ""

    def keyless(self, name: str) -> bool:
        """Tell whether a peer of that name, if it is new, gets a key pair made here."""
        peer = (self.peers or {})[name]
        return peer.public_key is None and peer.private_key is None

    @property
    def holds_secrets(self) -> bool:
        """Whether a key that must stay secret stands in it."""
        return any(
            peer.private_key is not None or isinstance(peer.preshared_key, PresharedKey)
            for peer in (self.peers or {}).values()
        )


def document_of(value: Document | Mapping[str, object] | Path) -> Document:
    """Take a document, plain values, or the file of one."""
    if isinstance(value, Document):
        return value
    return Document.read(value) if isinstance(value, Path) else Document.of(value)
