"""What the server says of itself in OpenAPI holds, whatever is sent: schemathesis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from llmos.serving.app import create_app

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")
unsayable = checks.positive_data_acceptance
"""OpenAPI cannot say which requests fit a model: its context, whether it chats, what it has."""


@pytest.mark.slow
def test_answers_fit_their_description(lasting: Callable[..., Any]) -> None:
    app = create_app({"story": lasting("gpt2")})
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    paths = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        paths.add(operation.path)

        @settings(
            max_examples=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            case.call_and_validate(excluded_checks=[unsayable])

        check()
    assert {"/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/models"} <= paths
