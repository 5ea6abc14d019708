"""The calls about peers."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Header, Path, Query, Response

from wgbind.api.call import IF_MATCH, TAG
from wgbind.api.change import NewPeer, PeerRotation
from wgbind.api.node import Node
from wgbind.api.outcome import FAILURES, STALE, Failure, StaleError
from wgbind.api.peer_record import (
    ChangedPeerRecord,
    ChangedPeersRecord,
    ConfigurationRecord,
    ConfigurationsRecord,
    ConfigurationsRequest,
    EnablingRecord,
    NewPeerRecord,
    PeerChangesRecord,
    PeerRecord,
    PeersRecord,
    RotationRecord,
    TransactionRecord,
    changes_of,
)
from wgbind.api.peers import Peers
from wgbind.api.server_routes import EndpointName
from wgbind.api.status import PeerReport
from wgbind.errors import InputError, NotFoundError
from wgbind.store.peer import Peer

# Reading all peers takes as long as reading so many one by one.
_MANY = 20

_CHANGED = set(PeerChangesRecord.__annotations__) - {"private_key"}

_Which: TypeAlias = Annotated[
    str,
    Path(
        description="Name of the peer, or its public key in hexadecimal.",
        pattern="^([a-zA-Z0-9][a-zA-Z0-9_.@+-]{0,62}|[0-9a-fA-F]{64})$",
    ),
]
_Secrets: TypeAlias = Annotated[
    bool, Query(description="Whether the answer has preshared and stored private keys.")
]

_PrivateKeys: TypeAlias = Annotated[
    bool, Query(description="With secrets: whether stored private keys are among them.")
]


def peer_routes(node: Node) -> APIRouter:
    """Build the routes that answer for `node`."""
    routes = APIRouter(tags=["peers"], responses=FAILURES)
    peers = node.peers

    def after(peer: Peer, *, secrets: bool) -> ChangedPeerRecord:
        return ChangedPeerRecord.after(peer, node.problems, secrets=secrets)

    @routes.get("/peers")
    def list_peers(
        group: Annotated[str | None, Query(description="Only who is in this group.")] = None,
        enabled: Annotated[bool | None, Query(description="Only who is, or is not.")] = None,
        secrets: _Secrets = False,
        private_keys: _PrivateKeys = True,
    ) -> PeersRecord:
        """List the peers, by name."""
        found = peers.list(group=group, enabled=enabled, private_keys=secrets and private_keys)
        return PeersRecord(peers=tuple(PeerRecord.of(peer, secrets=secrets) for peer in found))

    @routes.post("/peers", status_code=201)
    def add_peer(new: NewPeerRecord) -> ChangedPeerRecord:
        """Add a peer; the answer has its secrets, and a private key that was made this once."""
        return after(peers.add_many([new.change()])[0], secrets=True)

    @routes.get("/peers/{which}")
    def get_peer(
        which: _Which,
        response: Response,
        secrets: _Secrets = False,
        private_keys: _PrivateKeys = True,
    ) -> PeerRecord:
        """Describe a peer as the store has it; the header ETag stands for what it is now."""
        peer = peers.get(which, private_keys=secrets and private_keys)
        response.headers[TAG] = _tag(peer)
        return PeerRecord.of(peer, secrets=secrets)

    @routes.patch(
        "/peers/{which}",
        responses={STALE: {"model": Failure, "description": "It is not what If-Match says."}},
    )
    def update_peer(
        which: _Which,
        changes: PeerChangesRecord,
        response: Response,
        secrets: _Secrets = False,
        if_match: Annotated[
            str | None, Header(alias=IF_MATCH, description="The ETag that it must have.")
        ] = None,
    ) -> ChangedPeerRecord:
        """Change what is named of a peer, all or nothing; its session goes on where it can."""

        def edit(old: Peer) -> Peer:
            if if_match not in {None, "*", _tag(old)}:
                raise StaleError(f"peer {old.name!r} is not what it was; read it again")
            return replace(old, **changes_of(changes))

        peer = peers.edit(which, edit)
        response.headers[TAG] = _tag(peer)
        return after(peer, secrets=secrets)

    @routes.delete("/peers/{which}")
    def remove_peer(which: _Which) -> ChangedPeerRecord:
        """Remove a peer; its session ends at once. The answer is what it was."""
        return after(peers.remove(which), secrets=False)

    @routes.get("/peers/{which}/status")
    def peer_status(which: _Which) -> PeerReport:
        """Describe what a peer is and does."""
        key = peers.get(which).public_key
        for report in node.status().peers:
            if report.public_key == key:
                return report
        raise NotFoundError(f"peer {which!r} was removed just now")

    @routes.get("/peers/{which}/configuration")
    def peer_configuration(which: _Which, endpoint: EndpointName = None) -> ConfigurationRecord:
        """Write down what the peer's own end has to know; it holds its secrets."""
        found = peers.client_configuration(peers.get(which), endpoint=endpoint)
        return ConfigurationRecord.of(found)

    @routes.post("/peers/{which}/enable")
    def enable_peer(which: _Which, enabling: EnablingRecord | None = None) -> ChangedPeerRecord:
        """Serve a peer again; who has expired needs a later date for that."""
        until = None if enabling is None else enabling.expires_at
        return after(peers.enable(which, expires_at=until), secrets=False)

    @routes.post("/peers/{which}/disable")
    def disable_peer(which: _Which) -> ChangedPeerRecord:
        """Serve a peer no more; its session ends at once, and it keeps all it has."""
        return after(peers.disable(which), secrets=False)

    @routes.post("/peers/{which}/rotate")
    def rotate_peer(which: _Which, rotation: RotationRecord | None = None) -> ChangedPeerRecord:
        """Give a peer new keys; the answer has its secrets, a private key that was made this once.

        Its preshared key is new, too, if it has one.
        """
        key = None if rotation is None else rotation.public_key
        return after(peers.rotate(which, public_key=key), secrets=True)

    @routes.post("/transactions")
    def transact(transaction: TransactionRecord, secrets: _Secrets = False) -> ChangedPeersRecord:
        """Make changes one after the other, all of them or none.

        The answer has a peer for each: as that change left it or, for a removal, as it was. Who is
        added or gets new keys has its secrets there. The `item` of a failure is the number of the
        change that was refused.
        """
        changes = [record.change() for record in transaction.changes]
        made = peers.apply(changes)
        return ChangedPeersRecord(
            peers=tuple(
                PeerRecord.of(peer, secrets=secrets or isinstance(change, NewPeer | PeerRotation))
                for change, peer in zip(changes, made, strict=True)
            ),
            problems=tuple(node.problems),
        )

    @routes.post("/configurations")
    def configurations(request: ConfigurationsRequest) -> ConfigurationsRecord:
        """Write down what the peers' own ends have to know; they hold their secrets."""
        asked = _found(peers, request.peers)
        if request.clients is not None:
            if len(request.clients) != len(asked):
                raise InputError("clients: give one for each of the peers, or null")
            asked = [
                replace(peer, client=client)
                for peer, client in zip(asked, request.clients, strict=True)
            ]
        found = peers.client_configurations(asked, endpoint=request.endpoint)
        return ConfigurationsRecord(configurations=tuple(map(ConfigurationRecord.of, found)))

    return routes


def _found(peers: Peers, which: Sequence[str]) -> list[Peer]:
    """Find peers, one by one or, if they are many, among all; raise `NotFoundError`."""
    known: dict[str, Peer] = {}
    if len(which) > _MANY:
        for peer in peers.list():
            known[peer.name] = known[str(peer.public_key)] = peer
    return [known.get(each) or peers.get(each) for each in which]


def _tag(peer: Peer) -> str:
    """Return what stands for all of a peer that can be changed, but for a private key."""
    record = PeerRecord.of(peer, secrets=True).model_dump_json(include=_CHANGED)
    return f'"{sha256(record.encode()).hexdigest()[:32]}"'
