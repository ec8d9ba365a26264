"""Our own API: members, with country, languages, keys and contributions."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from llmos.hub.accounts.profiles import active_account, public_profile
from llmos.hub.api.asking import Ask, answer, iso
from llmos.hub.api.routing import Need, Route
from llmos.hub.errors import bad_request
from llmos.hub.runs import members

KINDS = {"": "", "user": "user", "org": "org"}


def list_all(ask: Ask) -> Response:
    """Users and organisations by name: `search`, `country`, `language`, `kind` (user, org)."""
    kind = ask.query("kind")
    if kind not in KINDS:
        raise bad_request(f"kind={kind[:20]}: choose user or org")
    limit = max(1, ask.query_number("limit", 50, 200))
    with ask.hub.database.read() as connection:
        rows = members.list_members(
            connection,
            search=ask.query("search")[:100],
            country=ask.query("country")[:10],
            language=ask.query("language")[:40],
            kind=kind,
            after=ask.query("after"),
            limit=limit,
        )
        done = members.contributions(connection, ask.caller, [row.id for row in rows])
        shown = [
            {
                "name": row.name,
                "kind": row.kind,
                "full_name": row.full_name,
                "country": row.country,
                "languages": row.languages,
                "contributions": done[row.id],
            }
            for row in rows
        ]
    more = ask.next_link(after=rows[-1].name) if len(rows) == limit else None
    return answer(shown, headers=more)


def show(ask: Ask) -> Response:
    """One member: profile, keys, contributions, the runs it took part in."""
    with ask.hub.database.read() as connection:
        account = active_account(connection, ask.value("account"))
        shown: dict[str, Any] = public_profile(connection, account)
        shown["contributions"] = members.contributions(connection, ask.caller, [account.id])[
            account.id
        ]
        shown["runs"] = members.runs_of(connection, ask.caller, account.id)
    shown["created_at"] = iso(shown["created_at"])
    for key in shown["keys"]:
        for name in ("created_at", "revoked_at"):
            key[name] = iso(key[name]) if key[name] is not None else None
    return answer(shown)


ROUTES = [
    Route("GET", "/api/members", Need.PUBLIC, list_all, documented=True),
    Route("GET", "/api/members/{account}", Need.PUBLIC, show, documented=True),
]
