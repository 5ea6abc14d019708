"""The calls that make a server what a document says."""

from typing import Annotated, TypeAlias

from fastapi import APIRouter, Query

from wgbind.api.apply_record import AppliedRecord
from wgbind.api.node import Node
from wgbind.api.outcome import FAILURES
from wgbind.apply.document import Document
from wgbind.apply.report import ApplyPlan

_Prune: TypeAlias = Annotated[
    bool, Query(description="Whether peers go that the document does not name.")
]


def apply_routes(node: Node) -> APIRouter:
    """Build the routes that answer for `node`."""
    routes = APIRouter(tags=["documents"], responses=FAILURES)

    @routes.post("/plan")
    def plan(document: Document, prune: _Prune = False) -> ApplyPlan:
        """Tell what a document would change, and change nothing."""
        document.require_live()
        return node.plan(document, prune=prune)

    @routes.post("/apply")
    def apply(document: Document, prune: _Prune = False) -> AppliedRecord:
        """Make the server what a document says, all of it or nothing.

        Of the settings it takes the sections policy, pool and client. The `item` of a failure is
        the number of the peer in the document that was refused.
        """
        document.require_live()
        return AppliedRecord.of(node.apply(document, prune=prune))

    return routes
