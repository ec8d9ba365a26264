"""What is wrong with a body that does not fit, in one line and by the field's own name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from llmos.serving.errors import APIError

_NOT_READ = "There was an error parsing the body"
"""FastAPI's words for bytes that are no text."""


def of_validation(error: RequestValidationError) -> APIError:
    """The error for a body that pydantic refused."""
    first = _first(error.errors())
    if first["type"] == "json_invalid":
        return APIError("the body is not JSON: mend it", code="invalid_json")
    place = ".".join(_place(first, error.body))
    if not place:
        return APIError("the body is no JSON object: send one, as application/json")
    return APIError(f"{place}: {first['msg']}", param=place)


def of_http(error: HTTPException) -> APIError:
    """The error for a path, a method or a body that cannot be read."""
    if error.detail == _NOT_READ:
        return APIError("the body cannot be read: send JSON in UTF-8", code="invalid_json")
    return APIError(str(error.detail), status=error.status_code)


def _first(errors: Sequence[Any]) -> Any:
    """Of a field that may be one thing or another, what is wrong with the one that was meant."""
    meant = [one for one in errors if not one["type"].endswith("_type")]
    return (meant or errors)[0]


def _place(error: Any, body: Any) -> list[str]:
    """Where in the body it is, without the names that pydantic gives to alternatives."""
    names = [part for part in error["loc"] if part != "body"]
    found = []
    for number, name in enumerate(names, 1):
        is_missing = error["type"] == "missing" and number == len(names)
        if isinstance(body, dict) and (name in body or is_missing):
            found.append(str(name))
            body = body.get(name)
        elif isinstance(body, list) and isinstance(name, int):
            found.append(str(name))
            body = body[name] if name < len(body) else None
    return found
