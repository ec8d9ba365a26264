"""GET /api/openapi.json: this hub's own API as OpenAPI 3.1, made from its routes.

In it are the routes marked `documented`; the rest speaks the Hugging Face protocol, whose
description is huggingface_hub.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from starlette.responses import Response

from llmos import __version__
from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask, answer
from llmos.hub.api.routing import KINDS, SAFE, Need, Route

REFERENCE = "#/components/schemas/{model}"
ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
}
NEEDS = {
    Need.PUBLIC: "Anybody may ask.",
    Need.SIGNED_IN: "Needs a token or a session.",
    Need.WRITING: "Needs a token of scope write, or a session.",
    Need.SESSION: "Needs a session (a signed-in browser); a token does not do.",
    Need.ORG_MEMBER: "Needs a member of the organisation.",
    Need.ORG_ADMIN: "Needs an admin of the organisation.",
    Need.ADMIN: "Needs an admin of the hub.",
    Need.SIGNED: "Needs the signature that is part of the address.",
}
RIGHTS = {
    Right.READ: "Needs a repository that one may see.",
    Right.CONTENT: "Needs access to the repository's files.",
    Right.PROPOSE: "Needs access to the repository's files, signed in.",
    Right.WRITE: "Needs the right to commit to the repository.",
    Right.MANAGE: "Needs a maintainer of the repository.",
    Right.OWN: "Needs an admin of the repository's owner.",
}
_PARAMETER = re.compile(r"\{(\w+)\*?\}")


def show_openapi(ask: Ask) -> Response:
    """The description itself."""
    described = document(ask.request.state.router.routes, ask.hub.settings.name)
    return answer({**described, "servers": [{"url": ask.base}]})


def document(routes: Iterable[Route], name: str) -> dict[str, Any]:
    """OpenAPI 3.1 of those `routes` that are documented."""
    documented = [route for route in routes if route.documented]
    types: list[tuple[tuple[str, int], JsonSchemaMode, TypeAdapter[Any]]] = []
    for number, route in enumerate(documented):
        if route.takes is not None:
            types.append((("takes", number), "validation", TypeAdapter(route.takes)))
        if route.gives is not None:
            types.append((("gives", number), "serialization", TypeAdapter(route.gives)))
    inputs = [(key, mode, adapter.core_schema) for key, mode, adapter in types]
    made, schemas = GenerateJsonSchema(ref_template=REFERENCE).generate_definitions(inputs)
    paths: dict[str, dict[str, Any]] = {}
    for number, route in enumerate(documented):
        takes = made.get((("takes", number), "validation"))
        gives = made.get((("gives", number), "serialization"))
        for path in _paths(route.template):
            item = paths.setdefault(path, {})
            item[route.method.lower()] = _operation(route, path, takes, gives)
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": __version__},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**schemas, "Error": ERROR},
            "responses": {
                "Error": {
                    "description": "What was wrong; its code, if it has one, is in X-Error-Code.",
                    "headers": {
                        "X-Error-Code": {"schema": {"type": "string"}},
                        "X-Error-Message": {"schema": {"type": "string"}},
                        "X-Request-Id": {"schema": {"type": "string"}},
                    },
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}
                    },
                }
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "llmos_session"},
            },
        },
    }


def _paths(template: str) -> list[str]:
    """A template as OpenAPI paths: {repo} is two parameters, {kind} one word or another."""
    path = template.replace("{repo}", "{owner}/{repo}").replace("*}", "}")
    if "{prefix}" in path:
        words = ("", "/datasets", "/spaces", "/runs")
        return [path.replace("/{prefix}", word) for word in words]
    return [path]


def _operation(route: Route, path: str, takes: Any, gives: Any) -> dict[str, Any]:
    text = inspect.getdoc(route.answer) or ""
    needs = RIGHTS[route.needs] if isinstance(route.needs, Right) else NEEDS.get(route.needs, "")
    result: dict[str, Any] = {"description": "It is done."}
    if gives is not None:
        result["content"] = {"application/json": {"schema": gives}}
    operation: dict[str, Any] = {
        "operationId": _operation_id(route, path),
        "summary": text.split("\n\n")[0].replace("\n", " "),
        "description": needs,
        "parameters": [_parameter(name) for name in _PARAMETER.findall(path)],
        "responses": {
            str(route.status): result,
            "default": {"$ref": "#/components/responses/Error"},
        },
        "security": _security(route),
    }
    if takes is not None:
        content = {"application/json": {"schema": takes}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _operation_id(route: Route, path: str) -> str:
    return re.sub(r"\W+", "_", f"{route.method.lower()}_{path.removeprefix('/api/')}").strip("_")


def _parameter(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "minLength": 1}
    if name == "kind":
        schema["enum"] = list(KINDS)
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.needs == Need.SESSION:
        return [{"session": []}]
    either: list[dict[str, list[str]]] = [{"token": []}, {"session": []}]
    open_to_all = route.needs in (Need.PUBLIC, Need.INSIDE, Need.SIGNED) or (
        route.needs in (Right.READ, Right.CONTENT) and route.method in SAFE
    )
    return [{}, *either] if open_to_all else either


ROUTES = [Route("GET", "/api/openapi.json", Need.PUBLIC, show_openapi)]
