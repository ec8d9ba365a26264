"""A member's page: who they are, their people and keys, what they have shared and trained."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row
from starlette.responses import Response

from llmos.hub.accounts.organisations import members_of
from llmos.hub.accounts.profiles import public_profile
from llmos.hub.accounts.rights import role_in
from llmos.hub.api.asking import Ask
from llmos.hub.runs.members import runs_of
from llmos.hub.together.collections import list_collections, slug_of
from llmos.web import listing
from llmos.web.markdown import card_html
from llmos.web.rendering import page

KINDS = ("model", "dataset", "run", "space")
SHOWN = 12


def member_page(ask: Ask, account: Row[Any]) -> Response:
    """The page of a row of `accounts`; everybody may see it."""
    with ask.hub.database.read() as connection:
        profile = public_profile(connection, account)
        people = members_of(connection, account.id) if account.kind == "org" else []
        shared = {}
        for kind in KINDS:
            filters = listing.Filters(kind, author=account.name)
            rows, more = listing.find(connection, ask.caller, filters, SHOWN)
            shown: Any = [listing.item_of(row) for row in rows]
            if kind == "run":
                shown = listing.run_items(connection, rows)
            if rows:
                shared[kind] = (shown, bool(more))
        kept = list_collections(connection, ask.caller, owners=[account.name], limit=SHOWN)
        parts = runs_of(connection, ask.caller, account.id)
    role = role_in(ask.caller, account.id)
    return page(
        ask,
        "member.html",
        account=account,
        profile=profile,
        about=card_html(account.about) if account.about else None,
        people=people,
        collections=[(f"/collections/{slug_of(row)}", row.title) for row in kept],
        shared=shared,
        parts=parts,
        tokens=sum(part["tokens"] for part in parts),
        role=role,
    )
