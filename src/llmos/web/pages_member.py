"""A member's page: who they are, their people and keys, what they have shared and trained."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, select
from starlette.responses import Response

from llmos.hub.accounts.organisations import members_of
from llmos.hub.accounts.profiles import public_profile
from llmos.hub.accounts.rights import role_in, visible
from llmos.hub.api.asking import Ask
from llmos.hub.database.tables import repos, run_members
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
        parts = _parts(connection, ask, account.id)
    role = role_in(ask.caller, account.id)
    return page(
        ask,
        "member.html",
        account=account,
        profile=profile,
        about=card_html(account.about) if account.about else None,
        people=people,
        shared=shared,
        parts=parts,
        tokens=sum(part.tokens for part in parts),
        role=role,
    )


def _parts(connection: Connection, ask: Ask, account_id: int) -> list[Any]:
    """The account's part in runs that the caller may see, the largest first."""
    rows = connection.execute(
        select(
            repos.c.full_name,
            func.sum(run_members.c.tokens).label("tokens"),
            func.max(run_members.c.rounds).label("rounds"),
        )
        .join(run_members, run_members.c.repo_id == repos.c.id)
        .where(run_members.c.account_id == account_id, visible(ask.caller, repos))
        .group_by(repos.c.id, repos.c.full_name)
        .order_by(func.sum(run_members.c.tokens).desc())
        .limit(50)
    )
    return list(rows.all())
