"""Errors as OpenAI's API tells them: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from llmos.errors import LLMOSError, UsageError
from llmos.models.engines.engine import UnsupportedError
from llmos.models.engines.scheduler import BusyError, ClosedError


class APIError(LLMOSError):
    """An answer that is an error. `status` is that of HTTP; `code` is for programs."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after

    @property
    def body(self) -> dict[str, Any]:
        kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {
            "message": _shown(str(self)),
            "type": kinds.get(self.status, kind),
            "param": None if self.param is None else _shown(self.param),
            "code": self.code,
        }
        return {"error": error}

    def response(self) -> Response:
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after)))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return json_response(self.body, self.status, headers)


def _shown(text: str) -> str:
    """Without lone surrogates, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")


def told(error: Exception) -> APIError:
    """The error for one that came out of an engine. What was not foreseen is not shown."""
    if isinstance(error, APIError):
        return error
    if isinstance(error, TimeoutError):
        return APIError("the answer took too long: ask for less", status=504, code="timeout")
    if isinstance(error, BusyError):
        return APIError(str(error), status=503, code="overloaded", retry_after=1)
    if isinstance(error, ClosedError):
        return APIError(str(error), status=503, code="shutting_down", retry_after=5)
    if isinstance(error, UsageError):
        is_long = "context" in str(error)
        code = "context_length_exceeded" if is_long else "invalid_value"
        return APIError(str(error), code=code)
    if isinstance(error, UnsupportedError):
        return APIError(str(error), code="unsupported")
    return APIError("the server made a mistake; its log says which", status=500)
