"""Gated repositories: asking for access, and deciding about it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import Row
from starlette.responses import RedirectResponse, Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask, answer, done, iso
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import HubError, bad_request
from llmos.hub.together import access
from llmos.hub.together.webhooks import object_id


class Decision(BaseModel):
    """What becomes of a request, named by its user or its id."""

    status: str
    user: str | None = None
    request_id: str | None = Field(None, alias="requestId")
    rejection_reason: str | None = Field(None, alias="rejectionReason", max_length=10_000)


class Grant(BaseModel):
    """Who is let in."""

    user: str


def ask_for_access(ask: Ask) -> Response:
    """Ask, with the fields of the gate's form (a JSON object or a form). Any user who sees the
    repository may: being let in is what is asked for."""
    with ask.hub.database.write() as connection:
        status = access.ask_for_access(connection, ask.caller, ask.repo, _fields(ask))
    if "text/html" in ask.request.headers.get("accept", ""):
        return RedirectResponse(ask.address_of(ask.repo), 303)
    return answer({"status": status})


def withdraw(ask: Ask) -> Response:
    """Take one's own request back."""
    with ask.hub.database.write() as connection:
        access.withdraw(connection, ask.caller, ask.repo)
    return done()


def _fields(ask: Ask) -> dict[str, Any]:
    if "json" in ask.request.headers.get("content-type", ""):
        return ask.json()
    return {name: values[-1] for name, values in ask.form().items() if name != "csrf"}


def list_requests(ask: Ask) -> Response:
    """The requests of a status, a hundred a page."""
    after = ask.query_number("cursor", 0, 10**12)
    with ask.hub.database.read() as connection:
        rows = access.list_requests(connection, ask.repo, ask.value("status"), after=after)
    more = ask.next_link(cursor=rows[-1].id) if len(rows) == access.PAGE else None
    return answer([_shown(row) for row in rows], headers=more)


def _shown(row: Row[Any]) -> dict[str, Any]:
    return {
        "requestId": object_id(row.id),
        "status": row.status,
        "timestamp": iso(row.created_at),
        "fields": row.fields,
        "grantedManually": row.granted,
        "user": {
            "_id": object_id(row.account_id),
            "user": row.name,
            "fullname": row.full_name or row.name,
            "email": None if row.granted else row.email or None,
            "type": "user",
        },
    }


def decide(ask: Ask) -> Response:
    """Accept, reject, or set back to pending."""
    asked = ask.data
    assert isinstance(asked, Decision)
    if (asked.user is None) == (asked.request_id is None):
        raise bad_request("Name the request by user or by requestId, not by both")
    with ask.hub.database.write() as connection:
        access.decide(
            connection,
            ask.caller,
            ask.repo,
            asked.status,
            user=asked.user,
            request_id=_request_number(asked.request_id),
            reason=asked.rejection_reason or "",
        )
    return done()


def _request_number(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        number = int(text, 16)
    except ValueError:
        number = -1
    if not 0 <= number < 2**63:
        raise HubError(404, "There is no such access request")
    return number


def grant(ask: Ask) -> Response:
    """Let a user in who has not asked."""
    asked = ask.data
    assert isinstance(asked, Grant)
    with ask.hub.database.write() as connection:
        access.grant(connection, ask.caller, ask.repo, asked.user)
    return answer({})


REQUESTS = "/api/{kind}/{repo}/user-access-request"
ROUTES = [
    Route("POST", "/{prefix}/{repo}/ask-access", Need.WRITING, ask_for_access),
    Route("POST", "/api/{kind}/{repo}/ask-access", Need.WRITING, ask_for_access),
    Route("DELETE", "/api/{kind}/{repo}/ask-access", Need.WRITING, withdraw),
    Route("POST", f"{REQUESTS}/cancel", Need.WRITING, withdraw),
    Route("GET", f"{REQUESTS}/{{status}}", Right.MANAGE, list_requests),
    Route("POST", f"{REQUESTS}/handle", Right.MANAGE, decide, Decision),
    Route("POST", f"{REQUESTS}/grant", Right.MANAGE, grant, Grant),
]
