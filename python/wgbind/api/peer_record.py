"""Peers, and what shall become of them, as they stand in JSON on the API's wire."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    StrictStr,
    WithJsonSchema,
    with_config,
)
from typing_extensions import Self, TypedDict

from wgbind._native import PresharedKey
from wgbind.api.change import (
    Change,
    NewPeer,
    PeerEnabling,
    PeerRegrouping,
    PeerRemoval,
    PeerRotation,
    PeerUpdate,
)
from wgbind.api.wire import (
    WireAddress,
    WireEndpoint,
    WireMoment,
    WireName,
    WireNetwork,
    WirePeerEndpoint,
    WirePresharedKey,
    WirePrivateKey,
    WirePublicKey,
    parse_preshared_key,
)
from wgbind.settings.client import ClientOverrides
from wgbind.settings.number import Integer
from wgbind.settings.wg_quick import ClientConfiguration
from wgbind.store.peer import Peer, PeerChanges

_TOLD = tuple(each.name for each in fields(Peer) if each.name != "layout")
"""What of a peer is told: how a file said it is for an export alone, which reads the store."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class PeerRecord(_Record):
    """A peer, as the store has it."""

    server: str = Field(description="Interface of its server.")
    name: str
    public_key: WirePublicKey
    addresses: tuple[WireAddress, ...] = Field(description="Its addresses in the tunnel.")
    routed_networks: tuple[WireNetwork, ...] = Field(
        description="Networks behind it that are reached through it."
    )
    groups: tuple[str, ...] = Field(description="Groups that it is in, sorted.")
    endpoint: WirePeerEndpoint | None = Field(description="Where it listens, if that is known.")
    persistent_keepalive: int = Field(
        description="Seconds between packets that the server sends it; 0 is off."
    )
    client: ClientOverrides = Field(
        description="What its own configuration says other than those of the others."
    )
    description: str = Field(description="One line about it.")
    enabled: bool = Field(description="Whether it is served until it expires.")
    expires_at: WireMoment | None = Field(
        description="When the server ceases to serve it, UTC; null is never."
    )
    notes: str = Field(description="Any number of lines about it.")
    created_at: WireMoment
    has_preshared_key: bool
    preshared_key: WirePresharedKey | None = Field(
        description="Null if there is none, or if secrets are not asked for."
    )
    private_key: WirePrivateKey | None = Field(
        description="There in the answer to the call that made it; later only if the settings say "
        "that clients' keys are stored, and secrets are asked for."
    )

    @classmethod
    def of(cls, peer: Peer, *, secrets: bool) -> Self:
        """Write down a peer, with its secrets if they are asked for."""
        values = {name: getattr(peer, name) for name in _TOLD}
        values["groups"] = tuple(sorted(peer.groups))
        if not secrets:
            values["preshared_key"] = values["private_key"] = None
        return cls(has_preshared_key=peer.preshared_key is not None, **values)

    def peer(self) -> Peer:
        """Return the peer; it has no secrets if they were not asked for."""
        values = {name: getattr(self, name) for name in _TOLD}
        values["groups"] = frozenset(self.groups)
        return Peer(**values)


class ChangedPeerRecord(PeerRecord):
    """A peer after a change, or before its removal."""

    problems: tuple[str, ...] = Field(
        description="What of all that is stored the server could not apply; it tries again."
    )

    @classmethod
    def after(cls, peer: Peer, problems: Iterable[str], *, secrets: bool) -> Self:
        """Write down a peer, with its secrets if they are asked for, and what is not applied."""
        record = PeerRecord.of(peer, secrets=secrets)
        return cls(**dict(record), problems=tuple(problems))


def _parse_new_preshared_key(value: Any) -> PresharedKey | bool:  # noqa: ANN401
    return value if isinstance(value, bool) else parse_preshared_key(value)


def _write_new_preshared_key(value: PresharedKey | bool) -> str | bool:
    return value if isinstance(value, bool) else value.reveal()


class NewPeerRecord(_Record):
    """A peer to be made."""

    name: StrictStr = Field(description="Its name among the peers of the server.")
    public_key: WirePublicKey | None = Field(
        default=None, description="Its key; null makes a key pair for it."
    )
    preshared_key: Annotated[
        PresharedKey | bool,
        PlainValidator(_parse_new_preshared_key),
        PlainSerializer(_write_new_preshared_key),
        WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string"}]}),
    ] = Field(default=True, description="A key in base64; true makes one, false is none.")
    addresses: tuple[WireAddress, ...] | None = Field(
        default=None, description="Its addresses in the tunnel; null takes the next free ones."
    )
    routed_networks: tuple[WireNetwork, ...] = Field(
        default=(), description="Networks behind it that are reached through it."
    )
    groups: tuple[StrictStr, ...] = Field(
        default=(), description="Groups that it is in; the settings name those there are."
    )
    endpoint: WirePeerEndpoint | None = Field(
        default=None, description="Where it listens, if it does."
    )
    persistent_keepalive: Integer = Field(
        default=0, description="Seconds between packets that the server sends it; 0 is off."
    )
    client: ClientOverrides | None = Field(
        default=None,
        description="What its own configuration says other than those of the others.",
    )
    description: StrictStr = Field(default="", description="One line about it.")
    expires_at: WireMoment | None = Field(
        default=None, description="When the server ceases to serve it; null is never."
    )
    enabled: StrictBool = Field(default=True, description="Whether it is served until then.")
    private_key: WirePrivateKey | None = Field(
        default=None,
        description="The one of its key, to be kept if the settings say that clients' keys are.",
    )
    notes: StrictStr = Field(default="", description="Any number of lines about it.")

    def change(self) -> NewPeer:
        """Return the peer to be made."""
        return NewPeer(**dict(self))


@with_config(ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class PeerChangesRecord(TypedDict, total=False):
    """What changes of a peer; what is left out stays as it is."""

    name: StrictStr
    public_key: WirePublicKey
    preshared_key: Annotated[WirePresharedKey | None, Field(description="Null removes it.")]
    addresses: tuple[WireAddress, ...]
    routed_networks: tuple[WireNetwork, ...]
    groups: tuple[StrictStr, ...]
    endpoint: Annotated[WirePeerEndpoint | None, Field(description="Null forgets it.")]
    persistent_keepalive: Integer
    private_key: Annotated[
        WirePrivateKey | None, Field(description="The one of its public key, to be stored.")
    ]
    client: ClientOverrides
    description: StrictStr
    enabled: StrictBool
    expires_at: Annotated[WireMoment | None, Field(description="Null is never.")]
    notes: StrictStr


def changes_of(record: PeerChangesRecord) -> PeerChanges:
    """Return what was said."""
    said: dict[str, Any] = {**record}
    if "groups" in said:
        said["groups"] = frozenset(said["groups"])
    return cast("PeerChanges", said)


def record_of(changes: PeerChanges) -> PeerChangesRecord:
    """Write down what changes."""
    said: dict[str, Any] = {**changes}
    if "groups" in said:
        said["groups"] = tuple(sorted(said["groups"]))
    return cast("PeerChangesRecord", said)


class EnablingRecord(_Record):
    """How a peer is enabled."""

    expires_at: WireMoment | None = Field(
        default=None, description="Until when; null leaves the date as it is."
    )


class RotationRecord(_Record):
    """A peer's new keys."""

    public_key: WirePublicKey | None = Field(
        default=None, description="Null makes a key pair for it."
    )


class _ChangeRecord(_Record):
    which: StrictStr = Field(description="Name of the peer, or its public key.")


class AddRecord(NewPeerRecord):
    """Add a peer."""

    op: Literal["add"]

    def change(self) -> NewPeer:
        """Return the change."""
        return NewPeer(**{name: value for name, value in self if name != "op"})


class UpdateRecord(_ChangeRecord):
    """Change what is named of a peer."""

    op: Literal["update"]
    changes: PeerChangesRecord

    def change(self) -> PeerUpdate:
        """Return the change."""
        return PeerUpdate(self.which, changes_of(self.changes))


class RegroupRecord(_ChangeRecord):
    """Put a peer into groups and take it out of others."""

    op: Literal["regroup"]
    join: tuple[StrictStr, ...] = ()
    leave: tuple[StrictStr, ...] = ()

    def change(self) -> PeerRegrouping:
        """Return the change."""
        return PeerRegrouping(self.which, frozenset(self.join), frozenset(self.leave))


class EnableRecord(_ChangeRecord, EnablingRecord):
    """Serve a peer again."""

    op: Literal["enable"]

    def change(self) -> PeerEnabling:
        """Return the change."""
        return PeerEnabling(self.which, self.expires_at)


class RotateRecord(_ChangeRecord, RotationRecord):
    """Give a peer new keys."""

    op: Literal["rotate"]

    def change(self) -> PeerRotation:
        """Return the change."""
        return PeerRotation(self.which, self.public_key)


class RemoveRecord(_ChangeRecord):
    """Remove a peer."""

    op: Literal["remove"]

    def change(self) -> PeerRemoval:
        """Return the change."""
        return PeerRemoval(self.which)


ChangeRecord: TypeAlias = Annotated[
    AddRecord | UpdateRecord | RegroupRecord | EnableRecord | RotateRecord | RemoveRecord,
    Field(discriminator="op"),
]


class TransactionRecord(_Record):
    """Changes that are made one after the other, all of them or none."""

    changes: tuple[ChangeRecord, ...]

    @classmethod
    def of(cls, changes: Iterable[Change]) -> Self:
        """Write down changes; raises `InputError` for what is none."""
        return cls(changes=tuple(map(_change_record, changes)))


def _change_record(change: Change) -> ChangeRecord:
    match change:
        case NewPeer():
            said = {each.name: getattr(change, each.name) for each in fields(change)}
            said["groups"] = tuple(sorted(change.groups))
            said["addresses"] = None if change.addresses is None else tuple(change.addresses)
            said["routed_networks"] = tuple(change.routed_networks)
            return AddRecord(op="add", **said)
        case PeerUpdate(which, changes):
            return UpdateRecord(op="update", which=str(which), changes=record_of(changes))
        case PeerRegrouping(which, join, leave):
            return RegroupRecord(
                op="regroup",
                which=str(which),
                join=tuple(sorted(join)),
                leave=tuple(sorted(leave)),
            )
        case PeerEnabling(which, expires_at):
            return EnableRecord(op="enable", which=str(which), expires_at=expires_at)
        case PeerRotation(which, public_key):
            return RotateRecord(op="rotate", which=str(which), public_key=public_key)
        case PeerRemoval(which):
            return RemoveRecord(op="remove", which=str(which))


class PeersRecord(_Record):
    """Several peers."""

    peers: tuple[PeerRecord, ...]


class ChangedPeersRecord(PeersRecord):
    """Several peers after changes, or before their removal."""

    problems: tuple[str, ...] = Field(
        description="What of all that is stored the server could not apply; it tries again."
    )


class ConfigurationsRequest(_Record):
    """Whose configurations are asked for."""

    peers: tuple[StrictStr, ...] = Field(description="Names of peers, or public keys.")
    endpoint: StrictStr | None = Field(
        default=None,
        description="By which of client.endpoints in the settings; null is the one for all.",
    )
    clients: tuple[ClientOverrides, ...] | None = Field(
        default=None,
        description="For each of these peers, what its own configuration says other than those of "
        "the others; null is what is stored.",
    )


class ConfigurationRecord(_Record):
    """What a peer's own end has to know. It holds its secrets."""

    private_key: WirePrivateKey | None = Field(
        description="Null if the peer keeps it, or nobody does."
    )
    addresses: tuple[WireAddress, ...]
    dns: tuple[WireName, ...]
    mtu: int | None
    public_key: WirePublicKey
    preshared_key: WirePresharedKey | None
    endpoint: WireEndpoint | None
    allowed_ips: tuple[WireNetwork, ...]
    persistent_keepalive: int
    text: str = Field(description="All of it as wg-quick and the apps read it.")

    @classmethod
    def of(cls, configuration: ClientConfiguration) -> Self:
        """Write down a configuration."""
        values = {each.name: getattr(configuration, each.name) for each in fields(configuration)}
        return cls(**values, text=configuration.text())

    def configuration(self) -> ClientConfiguration:
        """Return the configuration."""
        values = {each.name: getattr(self, each.name) for each in fields(ClientConfiguration)}
        return ClientConfiguration(**values)


class ConfigurationsRecord(_Record):
    """Several configurations."""

    configurations: tuple[ConfigurationRecord, ...]
