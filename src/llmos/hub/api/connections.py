"""Connections of the hub; `bodies` has for bodies what they have for heads."""

from __future__ import annotations

from starlette.responses import Response

from llmos.connections import LimitedConnection
from llmos.hub.api.answers import error_response
from llmos.hub.errors import HubError


class Connection(LimitedConnection):
    """For `uvicorn.Config(http=Connection)`: refusals are told as all errors of the hub."""

    @staticmethod
    def told(status: int, code: str, message: str) -> Response:
        """`code` is left out: `X-Error-Code` has those of the Hugging Face protocol alone."""
        return error_response(HubError(status, message[0].upper() + message[1:]))
