"""The calls of the API, apart from how they travel: what is asked, and how the answer is read."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urlencode

from pydantic import TypeAdapter, ValidationError

from wgbind.api.firewall import FirewallReport
from wgbind.api.outcome import Converged, input_error
from wgbind.api.peer_record import (
    ChangedPeerRecord,
    ChangedPeersRecord,
    ConfigurationsRecord,
    ConfigurationsRequest,
    PeerChangesRecord,
    PeerRecord,
    PeersRecord,
    TransactionRecord,
    record_of,
)
from wgbind.api.peers import warn
from wgbind.api.status import PeerReport, ServerInfo, ServerStatus
from wgbind.errors import KeyFormatError, NotFoundError
from wgbind.keys import PublicKey
from wgbind.settings.reference import PEER_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from wgbind.api.change import Change
    from wgbind.apply.document import Document
    from wgbind.apply.report import Applied, ApplyPlan
    from wgbind.settings.wg_quick import ClientConfiguration
    from wgbind.store.peer import Peer, PeerChanges

_Answer = TypeVar("_Answer")
_Model = TypeVar("_Model", ServerInfo, ServerStatus, FirewallReport, PeerReport)

_CHANGES = TypeAdapter(PeerChangesRecord)
_PEERS, _SECRETS = "/v1/peers", {"secrets": "true"}

# The tag of what a peer is, and the header that makes a change depend on it (RFC 9110, 8.8.3).
TAG, IF_MATCH = "etag", "if-match"


# A server that takes longer to converge is stuck; so many changes a second even a busy host makes.
PATIENCE_SECONDS = 60
SLOWEST_PER_SECOND = 20


@dataclass(frozen=True)
class Call(Generic[_Answer]):
    """One call.

    Attributes:
        method: HTTP's.
        path: With the query.
        parse: Reads the body of the answer and its headers, whose names are in lower case.
        body: JSON.
        headers: Of the request.
        patience: Seconds until a server that has not answered is given up.
    """

    method: str
    path: str
    parse: Callable[[bytes, Mapping[str, str]], _Answer] = field(repr=False)
    body: str | None = field(default=None, repr=False)  # it may have secrets
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    patience: float = PATIENCE_SECONDS


def _get(path: str, model: type[_Model]) -> Call[_Model]:
    return Call("GET", path, lambda body, _: model.model_validate_json(body))


def info(endpoint: str | None = None) -> Call[ServerInfo]:
    """Ask who answers, and for the endpoint of that name in the settings."""
    query = "" if endpoint is None else f"?{urlencode({'endpoint': endpoint})}"
    return _get(f"/v1{query}", ServerInfo)


def status() -> Call[ServerStatus]:
    """Ask for the server's state."""
    return _get("/v1/status", ServerStatus)


def firewall() -> Call[FirewallReport]:
    """Ask for the rules in force."""
    return _get("/v1/firewall", FirewallReport)


def peer_report(server: str, which: str | PublicKey) -> Call[PeerReport]:
    """Ask for the state of one peer."""
    return _get(f"{_peer_path(server, which)}/status", PeerReport)


def converge() -> Call[tuple[str, ...]]:
    """Let the server apply what the store says now; the answer is what could not be."""
    return Call("POST", "/v1/converge", _problems)


def reload() -> Call[tuple[str, ...]]:
    """Let the server read its settings again; the answer is what could not be applied."""
    return Call("POST", "/v1/reload", _problems)


def plan(document: Document, *, prune: bool) -> Call[ApplyPlan]:
    """Ask what a document would change; raises `InputError` for what the API does not take."""
    from wgbind.apply.report import ApplyPlan

    return _document("/v1/plan", document, prune, ApplyPlan.model_validate_json)


def apply_document(document: Document, *, prune: bool) -> Call[Applied]:
    """Ask to make the server what a document says; raises as `plan` does."""
    from wgbind.api.apply_record import AppliedRecord

    def applied(body: bytes) -> Applied:
        return AppliedRecord.model_validate_json(body).applied()

    return _document("/v1/apply", document, prune, applied)


def get(
    server: str, which: str | PublicKey, *, private_keys: bool = False
) -> Call[tuple[Peer, str]]:
    """Ask for a peer, and the tag of what it is now."""
    query = {**_SECRETS, "private_keys": str(private_keys).lower()}
    return Call(
        "GET",
        f"{_peer_path(server, which)}?{urlencode(query)}",
        lambda body, headers: (PeerRecord.model_validate_json(body).peer(), headers.get(TAG, "")),
    )


def list_peers(
    group: str | None, enabled: bool | None, *, private_keys: bool
) -> Call[Sequence[Peer]]:
    """Ask for the peers, all or some."""
    query = {**_SECRETS, "private_keys": str(private_keys).lower()}
    if group is not None:
        query["group"] = group
    if enabled is not None:
        query["enabled"] = str(enabled).lower()
    return Call("GET", f"{_PEERS}?{urlencode(query)}", _peers)


def apply(changes: Iterable[Change]) -> Call[Sequence[Peer]]:
    """Ask for changes in one transaction; raises `InputError` for what cannot be written down."""
    try:
        record = TransactionRecord.of(changes)
        body = record.model_dump_json()
    except ValidationError as error:
        raise input_error(error.errors()) from None
    return Call(
        "POST",
        f"/v1/transactions?{urlencode(_SECRETS)}",
        _changed_peers,
        body,
        patience=PATIENCE_SECONDS + len(record.changes) / SLOWEST_PER_SECOND,
    )


def update(server: str, tag: str, old: Peer, new: Peer) -> Call[Peer]:
    """Ask to make `new` of the peer that was `old`, if it is still what the tag says."""
    changes: PeerChanges = {}
    for name in PeerChangesRecord.__annotations__:
        value = getattr(new, name)
        if value != getattr(old, name):
            changes[name] = value  # type: ignore[literal-required]  # each is a field of both
    try:
        body = _CHANGES.dump_json(_CHANGES.validate_python(record_of(changes))).decode()
    except ValidationError as error:
        raise input_error(error.errors()) from None
    return Call(
        "PATCH",
        f"{_peer_path(server, old.public_key)}?{urlencode(_SECRETS)}",
        _changed_peer,
        body,
        {"content-type": "application/json", IF_MATCH: tag},
    )


def client_configurations(
    peers: Sequence[Peer], endpoint: str | None
) -> Call[Sequence[ClientConfiguration]]:
    """Ask for the configurations of peers; private keys that these hold go into the answer."""

    def parse(body: bytes, _: Mapping[str, str]) -> Sequence[ClientConfiguration]:
        found = ConfigurationsRecord.model_validate_json(body).configurations
        return [
            replace(each.configuration(), private_key=peer.private_key or each.private_key)
            for peer, each in zip(peers, found, strict=True)
        ]

    request = ConfigurationsRequest(
        peers=tuple(str(peer.public_key) for peer in peers),
        endpoint=endpoint,
        clients=tuple(peer.client for peer in peers),
    )
    body = request.model_dump_json(exclude_defaults=True)
    return Call("POST", "/v1/configurations", parse, body)


def _document(
    path: str, document: Document, prune: bool, parse: Callable[[bytes], _Answer]
) -> Call[_Answer]:
    document.require_live()
    return Call(
        "POST",
        f"{path}?{urlencode({'prune': str(prune).lower()})}",
        lambda body, _: parse(body),
        document.model_dump_json(exclude_unset=True),
        patience=PATIENCE_SECONDS + len(document.peers or ()) / SLOWEST_PER_SECOND,
    )


def _peers(body: bytes, _headers: Mapping[str, str]) -> Sequence[Peer]:
    return [record.peer() for record in PeersRecord.model_validate_json(body).peers]


def _changed_peers(body: bytes, _headers: Mapping[str, str]) -> Sequence[Peer]:
    found = ChangedPeersRecord.model_validate_json(body)
    warn(found.problems)
    return [record.peer() for record in found.peers]


def _changed_peer(body: bytes, _headers: Mapping[str, str]) -> Peer:
    found = ChangedPeerRecord.model_validate_json(body)
    warn(found.problems)
    return found.peer()


def _problems(body: bytes, _headers: Mapping[str, str]) -> tuple[str, ...]:
    return Converged.model_validate_json(body).problems


def _peer_path(server: str, which: str | PublicKey) -> str:
    """Name a peer in a path: base64 has "/", so keys stand there in hexadecimal."""
    text = str(which)
    try:
        return f"{_PEERS}/{b64decode(str(PublicKey(text))).hex()}"
    except KeyFormatError:
        if PEER_NAME.fullmatch(text) is None:
            raise NotFoundError(
                f"no peer {text!r} on {server}; `wgbind peer list` shows them"
            ) from None
        return f"{_PEERS}/{text}"
