"""How often one caller may ask, and what of a request is too long to be looked at."""

from __future__ import annotations

from starlette.requests import Request

from llmos.hub.accounts.limits import network
from llmos.hub.accounts.rights import Caller
from llmos.hub.errors import HubError, bad_request
from llmos.hub.hub import Hub

LONGEST_PATH = 8192  # bytes, percent signs and all
LONGEST_QUERY = 16_384
LONGEST_HEADERS = 65_536


def address_of(request: Request) -> str:
    """The address that asks. Behind a proxy it is the client's only if the hub was told to believe
    that proxy (settings.proxies): the server has put it here then."""
    return request.client.host if request.client else ""


def check_address(request: Request) -> None:
    """Raise `HubError` 414 or 431 for an address or headers that nobody needs to be so long, 400
    for U+0000, which databases cannot keep."""
    scope = request.scope
    path = scope.get("raw_path") or scope["path"].encode()
    if b"%00" in path or b"%00" in scope["query_string"] or b"\0" in path:
        raise bad_request("The address has the character U+0000")
    if len(path) > LONGEST_PATH:
        raise HubError(414, f"The path is over {LONGEST_PATH} bytes")
    if len(scope["query_string"]) > LONGEST_QUERY:
        raise HubError(414, f"The query is over {LONGEST_QUERY} bytes")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEADERS:
        raise HubError(431, f"The headers are over {LONGEST_HEADERS} bytes")


def check_rate(hub: Hub, request: Request, caller: Caller) -> None:
    """Raise `HubError` 429 when this account (or, of nobody, this network) asks too often."""
    if hub.limits.requests.per_minute > 0:
        key = f"account {caller.id}" if caller.known else network(address_of(request))
        hub.limits.requests.check(key, "requests")
