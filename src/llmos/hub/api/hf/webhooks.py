"""/api/settings/webhooks: the caller's webhooks. A secret is shown to its owner alone, and only to
tokens that may write."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from sqlalchemy import Row
from starlette.responses import Response

from llmos.hub.api.asking import Ask, answer, done, iso
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import bad_request
from llmos.hub.together import webhook_settings

SHOWN_DELIVERIES = 50


class Watched(BaseModel):
    """A user, an organisation or a repository."""

    type: str
    name: str


class NewWebhook(BaseModel):
    """What is made. Jobs are not run here: a webhook has an address."""

    url: str | None = None
    watched: list[Watched]
    domains: list[str] | None = None
    secret: str | None = None


class WebhookChange(BaseModel):
    """What may be changed; what is not given stays."""

    url: str | None = None
    watched: list[Watched] | None = None
    domains: list[str] | None = None
    secret: str | None = None


def list_all(ask: Ask) -> Response:
    """All of the caller's webhooks."""
    with ask.hub.database.read() as connection:
        rows = webhook_settings.list_webhooks(connection, ask.caller)
    return answer([_shown(row) for row in rows])


def _shown(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.webhook_id,
        "url": row.url,
        "watched": row.watched,
        "domains": row.domains,
        "secret": row.secret,
        "disabled": row.disabled,
        "createdAt": iso(row.created_at),
    }


def show(ask: Ask) -> Response:
    """One webhook."""
    with ask.hub.database.read() as connection:
        row = webhook_settings.webhook_row(connection, ask.caller, ask.value("webhook"))
    return answer({"webhook": _shown(row)})


def list_deliveries(ask: Ask) -> Response:
    """What was sent lately, and what the receiver said."""
    with ask.hub.database.read() as connection:
        row = webhook_settings.webhook_row(connection, ask.caller, ask.value("webhook"))
        rows = webhook_settings.deliveries_of(connection, row, SHOWN_DELIVERIES)
    return answer(
        [
            {
                "id": f"{one.id:024x}",
                "event": one.payload["event"],
                "repo": one.payload["repo"]["name"],
                "status": one.state,
                "attempts": one.attempts,
                "answer": one.answer,
                "createdAt": iso(one.created_at),
                "nextAttemptAt": iso(one.next_at) if one.state == "waiting" else None,
            }
            for one in rows
        ]
    )


def create(ask: Ask) -> Response:
    """Make a webhook."""
    asked = ask.data
    assert isinstance(asked, NewWebhook)
    if asked.url is None:
        raise bad_request("url is missing: this hub runs no jobs")
    with ask.hub.database.write() as connection:
        row = webhook_settings.make_webhook(
            connection,
            ask.caller,
            asked.url,
            [item.model_dump() for item in asked.watched],
            webhook_settings.DOMAINS if asked.domains is None else asked.domains,
            asked.secret,
        )
    return answer({"webhook": _shown(row)})


def change(ask: Ask) -> Response:
    """Change a webhook. Clients send an empty list for things to watch that stay."""
    asked = ask.data
    assert isinstance(asked, WebhookChange)
    changes = asked.model_dump(exclude_none=True)
    return _changed(ask, {name: value for name, value in changes.items() if value != []})


def enable(ask: Ask) -> Response:
    """Let a webhook be told again."""
    return _changed(ask, {"disabled": False})


def disable(ask: Ask) -> Response:
    """Let a webhook be told nothing for a while."""
    return _changed(ask, {"disabled": True})


def _changed(ask: Ask, changes: dict[str, Any]) -> Response:
    with ask.hub.database.write() as connection:
        row = webhook_settings.change_webhook(connection, ask.caller, ask.value("webhook"), changes)
    return answer({"webhook": _shown(row)})


def remove(ask: Ask) -> Response:
    """Delete a webhook."""
    with ask.hub.database.write() as connection:
        webhook_settings.delete_webhook(connection, ask.caller, ask.value("webhook"))
    return done()


ALL = "/api/settings/webhooks"
ONE = f"{ALL}/{{webhook}}"
ROUTES = [
    Route("GET", ALL, Need.WRITING, list_all),
    Route("POST", ALL, Need.WRITING, create, NewWebhook),
    Route("GET", ONE, Need.WRITING, show),
    Route("POST", ONE, Need.WRITING, change, WebhookChange),
    Route("PATCH", ONE, Need.WRITING, change, WebhookChange),
    Route("DELETE", ONE, Need.WRITING, remove),
    Route("GET", f"{ONE}/deliveries", Need.WRITING, list_deliveries),
    Route("POST", f"{ONE}/enable", Need.WRITING, enable),
    Route("POST", f"{ONE}/disable", Need.WRITING, disable),
]
