"""The API of a running server keeps to its own OpenAPI document, whatever it is asked."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks

from harness import Api
from wgbind.api.document import openapi_document

SCHEMA = schemathesis.openapi.from_dict(json.loads(openapi_document()))
ENDLESS = "GET /v1/events"  # see test_events.py
OPERATIONS = [
    f"{method.upper()} {path}"
    for path, methods in json.loads(openapi_document())["paths"].items()
    for method in methods
    if f"{method.upper()} {path}" != ENDLESS
]

MODES: list[Any] = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.unsupported_method,
]


@pytest.fixture(scope="module")
def session(api: Api) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {api.token}"
        yield session


@pytest.mark.parametrize("label", OPERATIONS)
def test_answers_are_those_of_the_document(api: Api, session: requests.Session, label: str) -> None:
    for name in ("phone", "site"):
        if name not in [peer.name for peer in api.server.peers.list()]:
            api.server.peers.add(name)
    operation = SCHEMA.find_operation_by_label(label)
    assert operation is not None

    # The same every time: what is new comes with new code.
    @settings(
        max_examples=20,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.one_of([operation.as_strategy(generation_mode=mode) for mode in MODES]),
        st.booleans(),
    )
    def ask(case: Any, of_somebody: bool) -> None:
        wanted = [*CHECKS, openapi_checks.negative_data_rejection]
        if of_somebody and "which" in case.path_parameters:
            # What was made to be refused may be right now.
            case.path_parameters["which"], wanted = "phone", CHECKS
        case.call_and_validate(
            base_url=api.url, session=session, verify=str(api.certificate), checks=wanted
        )

    ask()
    assert api.server.status().problems == ()
