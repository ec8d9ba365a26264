"""For the hub's admins: how much there is, accounts, invitations, the newest of the audit log."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import select
from starlette.responses import Response

from llmos.hub.accounts import invitations, profiles, standing
from llmos.hub.api.accounts import number
from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Need, Route
from llmos.hub.database.tables import accounts, audit
from llmos.hub.upkeep.statistics import statistics
from llmos.web.forms import field
from llmos.web.rendering import go_to, page

USERS = 100
ENTRIES = 40


def admin(ask: Ask) -> Response:
    """The admins' page."""
    return _admin(ask)


def _admin(ask: Ask, code: str = "") -> Response:
    words = ask.query("q").lower()[:100]
    counted = statistics(ask.hub)
    with ask.hub.database.read() as connection:
        people = connection.execute(
            select(accounts)
            .where(accounts.c.name_key.contains(words, autoescape=True))
            .order_by(accounts.c.id.desc())
            .limit(USERS)
        ).all()
        entries = connection.execute(
            select(audit).order_by(audit.c.number.desc()).limit(ENTRIES)
        ).all()
        invited = invitations.open_invitations(connection, None)
    return page(
        ask,
        "admin.html",
        stats=asdict(counted),
        people=people,
        words=words,
        entries=entries,
        invited=invited,
        code=code,
    )


def invite(ask: Ask) -> Response:
    """Invite somebody to the hub and show the code, this once."""
    with ask.hub.database.write() as connection:
        code = invitations.invite(
            connection, ask.caller.name, by=ask.need_account(), email=field(ask, "email")
        )
    return _admin(ask, code)


def withdraw(ask: Ask) -> Response:
    """Take an open invitation back."""
    with ask.hub.database.write() as connection:
        invitations.withdraw(connection, ask.caller.name, None, number(ask, "number"))
    return go_to("/admin", "withdrawn")


def set_standing(ask: Ask) -> Response:
    """Keep an account out, or let it in again."""
    change = standing.disable if field(ask, "disabled") == "yes" else standing.enable
    with ask.hub.database.write() as connection:
        row = profiles.known_account(connection, ask.value("account"))
        change(connection, ask.caller.name, row)
    return go_to("/admin", "saved")


ROUTES = [
    Route("GET", "/admin", Need.ADMIN, admin, page=True),
    Route("POST", "/admin/invitations", Need.ADMIN, invite, page=True),
    Route("POST", "/admin/invitations/{number}/withdraw", Need.ADMIN, withdraw, page=True),
    Route("POST", "/admin/accounts/{account}/standing", Need.ADMIN, set_standing, page=True),
]
