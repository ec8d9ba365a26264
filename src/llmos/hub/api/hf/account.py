"""GET /api/whoami-v2 and the repositories of an account with what they store."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select
from starlette.responses import Response

from llmos.hub.accounts.rights import account_row, role_in
from llmos.hub.api.asking import Ask, answer, iso
from llmos.hub.api.hf.queries import page_limit
from llmos.hub.api.routing import Need, Route
from llmos.hub.database.tables import accounts, tokens
from llmos.hub.errors import HubError, forbidden, unauthorized
from llmos.hub.repos.listing import read_cursor
from llmos.hub.repos.storage import owned, stored_by

ROLE_WORDS = {"reader": "read", "contributor": "contributor", "maintainer": "write"}


def whoami(ask: Ask) -> Response:
    """The caller: name, organisations, the token's scope."""
    with ask.hub.database.read() as connection:
        me = connection.execute(select(accounts).where(accounts.c.id == ask.need_account())).one()
        orgs = connection.execute(
            select(accounts)
            .where(accounts.c.id.in_(ask.caller.roles))
            .order_by(accounts.c.name_key)
        ).all()
        token = connection.execute(
            select(tokens.c.created_at)
            .where(tokens.c.account_id == me.id, tokens.c.label == ask.caller.label)
            .limit(1)
        ).scalar()
    return answer(
        {
            "type": "user",
            "id": f"{me.id:024x}",
            "name": me.name,
            "fullname": me.full_name or me.name,
            "email": me.email or None,
            "emailVerified": bool(me.email),
            "canPay": False,
            "isPro": False,
            "periodEnd": None,
            "avatarUrl": "",
            "admin": ask.caller.admin,
            "orgs": [_organisation(org, ask.caller.roles[org.id]) for org in orgs],
            "auth": _authentication(ask, token or me.created_at),
        }
    )


def _organisation(org: Row[Any], role: str) -> dict[str, Any]:
    return {
        "type": "org",
        "id": f"{org.id:024x}",
        "name": org.name,
        "fullname": org.full_name or org.name,
        "email": None,
        "canPay": False,
        "isEnterprise": False,
        "periodEnd": None,
        "avatarUrl": "",
        "roleInOrg": ROLE_WORDS.get(role, role),
    }


def _authentication(ask: Ask, created_at: int) -> dict[str, Any]:
    if ask.caller.session:
        return {"type": "session"}
    token: dict[str, Any] = {
        "displayName": ask.caller.label,
        "role": ask.caller.scope,
        "createdAt": iso(created_at),
    }
    if ask.caller.scope == "fineGrained":
        scoped = [
            {"entity": {"type": "repo", "name": name}, "permissions": ["repo.write"]}
            for name in ask.caller.repos
        ]
        token["fineGrained"] = {"canReadGatedRepos": True, "global": [], "scoped": scoped}
    return {"type": "access_token", "accessToken": token}


def my_repositories(ask: Ask) -> Response:
    """The caller's own repositories with what they store."""
    return _stored(ask, ask.need_account())


def org_repositories(ask: Ask) -> Response:
    """An organisation's repositories with what they store, for its members: 401 for nobody, 404
    for an organisation that there is none of, 403 for others."""
    if not ask.caller.known:
        raise unauthorized()
    with ask.hub.database.read() as connection:
        org = account_row(connection, ask.value("organization"))
    if org is None:
        raise HubError(404, "This organization does not exist")
    if role_in(ask.caller, org.id) is None:
        raise forbidden(f"Only members of {org.name} may see what it stores")
    return _stored(ask, org.id)


def _stored(ask: Ask, owner_id: int) -> Response:
    after = read_cursor(ask.query("cursor"))
    with ask.hub.database.read() as connection:
        total = stored_by(connection, owner_id)
        rows, more = owned(connection, owner_id, page_limit(ask), after)
    found = [
        {
            "id": row.full_name,
            "type": row.kind,
            "updatedAt": iso(row.updated_at),
            "visibility": "private" if row.private else "public",
            "storage": row.used_bytes,
            "storagePercent": row.used_bytes / total if total else 0,
        }
        for row in rows
    ]
    return answer(found, headers=ask.next_link(cursor=more) if more else None)


ROUTES = [
    Route("GET", "/api/whoami-v2", Need.SIGNED_IN, whoami),
    Route("GET", "/api/settings/repositories", Need.SIGNED_IN, my_repositories),
    Route(
        "GET",
        "/api/organizations/{organization}/settings/repositories",
        Need.INSIDE,
        org_repositories,
    ),
]
