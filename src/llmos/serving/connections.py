"""Connections of the server of models; `limits` has for bodies what they have for heads."""

from __future__ import annotations

from starlette.responses import Response

from llmos.connections import LimitedConnection
from llmos.serving.errors import APIError


class Connection(LimitedConnection):
    """For `uvicorn.Config(http=Connection)`: refusals are told in OpenAI's form."""

    @staticmethod
    def told(status: int, code: str, message: str) -> Response:
        return APIError(message, status=status, code=code).response()
