"""The OpenAPI document is the contract: whatever is sent, no 500, and errors are problems with a hint."""

from __future__ import annotations

import os
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from bridge.api.problems import MEDIA_TYPE
from tests.unit.api import play

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "12"))
"""Per operation; `make fuzz-api` sends many more."""


@pytest.fixture
def overrides() -> dict[str, Any]:
    # Receipts that are too long are to be refused for what they are, not for the size of the whole body.
    api = {"stream_seconds": 0.05, "max_body_bytes": 1_048_576}
    return {"api": api, "swaps": {"open_quotes_per_client": 100_000}}


@pytest.fixture
def contract(app: FastAPI, client: Any, locked: dict[str, Any]) -> Any:
    play.place(client, 2)
    document = app.openapi()
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "swap_id":
                    parameter["example"] = locked["id"]
    return schemathesis.openapi.from_asgi("/openapi.json", app)


CONFORMING = [
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    negative_data_rejection,
    unsupported_method,
]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_any_request_gets_a_documented_answer(contract: Any, mode: GenerationMode) -> None:
    tried = 0
    for result in contract.get_all_operations():
        operation = result.ok()
        try:
            strategy = operation.as_strategy(generation_mode=mode)
        except Unsatisfiable:
            continue

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=strategy)
        def conforms(case: schemathesis.Case[Any]) -> None:
            check(case)

        try:
            conforms()
        except Unsatisfiable:
            continue  # nothing about this operation can be wrong
        tried += 1
    assert tried > 10


def check(case: schemathesis.Case[Any]) -> None:
    if case.path.startswith("/v1/admin"):
        case.headers["Authorization"] = play.ADMIN["Authorization"]
    response = case.call()
    where = f"{case.method} {case.formatted_path} {case.query} {case.body!r}: {response.text[:500]}"
    assert response.status_code < 500 or response.status_code == 503, where
    case.validate_response(response, checks=CONFORMING)
    if response.status_code >= 400:
        assert response.headers["content-type"][0].startswith(MEDIA_TYPE), where
        problem = response.json()
        assert problem["type"].startswith("urn:rainbow:problem:"), where
        assert problem["hint"], where
        assert problem["status"] == response.status_code, where
