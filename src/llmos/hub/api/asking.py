"""One request: who asks, of which hub, about which repository, with what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode

import orjson
from pydantic import BaseModel
from sqlalchemy import Row
from starlette.requests import Request
from starlette.responses import Response

from llmos.hub.accounts.rights import NOBODY, Caller, Right
from llmos.hub.api.routing import PREFIXES, Match
from llmos.hub.errors import bad_request, unauthorized
from llmos.hub.hub import Hub

PREFIX_OF = {kind: f"{word}/" if word else "" for word, kind in PREFIXES.items()}


@dataclass(slots=True)
class Ask:
    """What an answering function is given."""

    hub: Hub
    request: Request
    match: Match
    caller: Caller = NOBODY
    body: bytes = b""
    repo_row: Row[Any] | None = None
    right: Right = Right.NONE  # the caller's on the repository
    org_row: Row[Any] | None = None  # the organisation, where the route is for its people
    data: BaseModel | None = None  # the JSON body, as route.takes has read it

    @property
    def repo(self) -> Row[Any]:
        """The repository asked about."""
        assert self.repo_row is not None, "the route's template names no {repo}"
        return self.repo_row

    @property
    def org(self) -> Row[Any]:
        """The organisation asked about."""
        assert self.org_row is not None, "the route needs no role in an {org}"
        return self.org_row

    def value(self, name: str) -> str:
        """What the template's {name} caught, decoded."""
        return self.match.values[name]

    @property
    def base(self) -> str:
        """https://host of this hub, as the client sees it; no slash at the end."""
        if self.hub.settings.public_url:
            return self.hub.settings.public_url.rstrip("/")
        host = self.request.headers.get("host", "localhost")
        return f"{self.request.url.scheme}://{host}"

    def need_account(self) -> int:
        """The caller's id. Raises `HubError` 401 when nobody has signed in."""
        if self.caller.id is None:
            raise unauthorized()
        return self.caller.id

    def json(self) -> dict[str, Any]:
        """The body as a JSON object ({} when empty). Raises `HubError` 400."""
        if not self.body.strip():
            return {}
        data = _parsed(self.body, "the body")
        if not isinstance(data, dict):
            raise bad_request("the body must be a JSON object")
        return data

    def form(self) -> dict[str, list[str]]:
        """The body as URL-encoded fields. Raises `HubError` 400."""
        try:
            fields = parse_qs(
                self.body.decode(errors="replace"), keep_blank_values=True, max_num_fields=10_000
            )
        except ValueError:
            raise bad_request("the form has too many fields") from None
        if _has_nul(fields):
            raise bad_request("the form has the character U+0000")
        return fields

    def query(self, name: str, default: str = "") -> str:
        """One query parameter."""
        return self.request.query_params.get(name, default)

    def query_list(self, name: str) -> list[str]:
        """All values of a query parameter: name=a&name=b, name[]=a or name=a,b."""
        params = self.request.query_params
        values = [*params.getlist(name), *params.getlist(f"{name}[]")]
        return [item for value in values for item in value.split(",") if item]

    def query_true(self, name: str) -> bool:
        """Whether a query parameter says yes."""
        return self.query(name).lower() in ("1", "true", "yes", "on")

    def query_number(self, name: str, default: int, most: int) -> int:
        """A whole number from 0 to `most`. Raises `HubError` 400."""
        text = self.query(name)
        if not text:
            return default
        if not text.isdecimal() or len(text) > 12:
            raise bad_request(f"{name}={text[:40]} is no number from 0 to {most}")
        return min(int(text), most)

    def next_link(self, **changed: object) -> dict[str, str]:
        """The Link header to the next page: this address with some parameters changed."""
        items = [pair for pair in self.request.query_params.multi_items() if pair[0] not in changed]
        items += [(name, str(value)) for name, value in changed.items()]
        path = self.request.scope["raw_path"].decode()
        return {"Link": f'<{self.base}{path}?{urlencode(items)}>; rel="next"'}

    def address_of(self, repo: Row[Any]) -> str:
        """The page of a repository."""
        return f"{self.base}/{PREFIX_OF[repo.kind]}{repo.full_name}"


def iso(at: int) -> str:
    """A time in milliseconds since 1970 as clients read it: 2026-01-02T03:04:05.678Z."""
    moment = datetime.fromtimestamp(at // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at % 1000:03d}Z"


def answer(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON."""
    return Response(orjson.dumps(data), status, headers, "application/json")


def done(status: int = 200) -> Response:
    """What huggingface_hub takes for "it is done"."""
    return Response("OK", status, media_type="text/plain")


def lines(body: bytes) -> list[dict[str, Any]]:
    """Newline-delimited JSON objects. Raises `HubError` 400."""
    found = [_parsed(line, "a line of the body") for line in body.splitlines() if line.strip()]
    if not all(isinstance(item, dict) and "key" in item for item in found):
        raise bad_request("each line must be an object with a key and a value")
    return found


def _parsed(text: bytes, what: str) -> Any:
    """JSON as RFC 8259 has it: no NaN, no half of a surrogate pair, and no U+0000, which databases
    cannot keep. Raises `HubError` 400."""
    try:
        data = orjson.loads(text)
    except ValueError as error:
        raise bad_request(f"{what} is no JSON: {error}") from None
    if b"\\u0000" in text and _has_nul(data):
        raise bad_request(f"{what} has the character U+0000")
    return data


def _has_nul(data: Any) -> bool:
    waiting = [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) and "\0" in item:
            return True
    return False
