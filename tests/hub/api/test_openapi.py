"""openapi.json: valid, complete, and kept to: schemathesis asks every operation in odd ways."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
)
from starlette.testclient import TestClient

from llmos.hub.accounts.rights import account_row
from llmos.hub.accounts.sessions import start_session
from llmos.hub.api.app import HubApp
from llmos.hub.api.openapi import document
from llmos.hub.api.routing import Route
from llmos.hub.api.surface import ROUTES

DOCUMENT = document(ROUTES, "hub")
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
DOCUMENTED = [route for route in ROUTES if route.documented]
CHECKS = (not_a_server_error, content_type_conformance, response_schema_conformance)
# The shape of a description, as far as OpenAPI 3.1 says it (section 4.8).
SHAPE = {
    "type": "object",
    "required": ["openapi", "info", "paths"],
    "properties": {
        "openapi": {"pattern": r"^3\.1\.\d+$"},
        "info": {"required": ["title", "version"]},
        "paths": {
            "patternProperties": {
                "^/": {
                    "additionalProperties": {
                        "type": "object",
                        "required": ["operationId", "responses", "parameters", "security"],
                        "properties": {
                            "summary": {"minLength": 10, "maxLength": 300},
                            "responses": {"minProperties": 2},
                            "parameters": {
                                "items": {
                                    "required": ["name", "in", "required", "schema"],
                                    "properties": {"in": {"const": "path"}},
                                }
                            },
                        },
                    }
                }
            },
            "additionalProperties": False,
        },
    },
}


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def test_it_has_the_shape_of_openapi_3_1() -> None:
    jsonschema_rs.Draft202012Validator(SHAPE).validate(DOCUMENT)
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_every_documented_route_is_in_it_and_its_parameters_too() -> None:
    there = {(method, path) for method, path, _ in _operations()}
    assert len(there) >= len(DOCUMENTED) > 30
    for method, path, operation in _operations():
        named = set(re.findall(r"\{(\w+)\}", path))
        assert named == {one["name"] for one in operation["parameters"]}
        assert "*" not in path and "{prefix}" not in path, (method, path)
    numbers = [operation["operationId"] for _, _, operation in _operations()]
    assert len(set(numbers)) == len(numbers)


def test_every_reference_leads_somewhere() -> None:
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT)):
        place: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_who_may_is_said_for_every_operation() -> None:
    for method, path, operation in _operations():
        assert operation["description"] or operation["summary"], (method, path)
        schemes = {name for one in operation["security"] for name in one}
        assert schemes <= {"token", "session"}


def test_it_is_served_with_this_hubs_address(world: Any) -> None:
    got = world.ask("GET", "/api/openapi.json")
    assert got.status_code == 200
    assert got.json()["servers"] == [{"url": "http://testserver"}]
    assert got.json()["paths"] == DOCUMENT["paths"]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, new_world: Any) -> Iterator[Any]:
    """An application, and the headers of an admin's session."""
    world = new_world(
        tmp_path_factory.mktemp("hub"), signup="open", requests_per_minute=0, logins_per_minute=0
    )
    world.user("root", admin=True)
    world.user("other", admin=True)
    world.org("acme", root="admin", other="admin")
    yield world
    world.hub.close()


def _headers(world: Any) -> dict[str, str]:
    """Those of a new session: what is asked may end the one before, or the account."""
    with world.hub.database.write() as connection:
        row = account_row(connection, "root")
        made = start_session(connection, world.hub, row.id, row.name)
        connection.exec_driver_sql("UPDATE accounts SET disabled_at = NULL WHERE name = 'root'")
    return {"Cookie": f"llmos_session={made.code}", "X-CSRF-Token": made.csrf}


def _fuzzed(world: Any, route: Route, examples: int) -> None:
    client = TestClient(HubApp(world.hub, ROUTES), raise_server_exceptions=False)
    for operation in _operations_of(route):

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],  # a failure is told as it is found: shrinking takes minutes
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            about = case.as_transport_kwargs(base_url="http://testserver")
            about["headers"] = {**dict(about.get("headers") or {}), **_headers(world)}
            about["headers"] = {
                name: str(value).encode("latin-1", "replace")
                for name, value in about["headers"].items()
            }
            about.pop("cookies", None)
            response = client.request(**about, follow_redirects=False)
            assert response.status_code < 500, (about, response.text)
            case.validate_response(response, checks=list(CHECKS))

        ask()


def _operations_of(route: Route) -> list[Any]:
    found = (one.ok() for one in SCHEMA.get_all_operations())
    return [one for one in found if (one.method.upper(), one.path) == _place(route)]


def _place(route: Route) -> tuple[str, str]:
    return route.method, route.template.replace("{repo}", "{owner}/{repo}").replace("*}", "}")


IDS = [f"{route.method} {route.template}" for route in DOCUMENTED]


@pytest.mark.parametrize("route", DOCUMENTED, ids=IDS)
def test_a_few_odd_requests(asked: Any, route: Route) -> None:
    _fuzzed(asked, route, 3)


@pytest.mark.slow
@pytest.mark.parametrize("route", DOCUMENTED, ids=IDS)
def test_many_odd_requests(asked: Any, route: Route) -> None:
    _fuzzed(asked, route, 200)
