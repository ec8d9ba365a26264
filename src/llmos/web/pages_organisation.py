"""The settings of an organisation: profile, people and roles, invitations."""

from __future__ import annotations

from starlette.responses import Response

from llmos.hub.accounts import invitations, organisations, people, profiles
from llmos.hub.accounts.rights import ROLES
from llmos.hub.api.accounts import account_of, number
from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Need, Route
from llmos.web.forms import field
from llmos.web.pages_account import country_choices, profile_values
from llmos.web.rendering import go_to, page, viewer_of


def settings(ask: Ask) -> Response:
    """The forms for an organisation's admins."""
    return _settings(ask)


def _settings(ask: Ask, code: str = "") -> Response:
    with ask.hub.database.read() as connection:
        members = organisations.members_of(connection, ask.org.id)
        invited = invitations.open_invitations(connection, ask.org.id)
    t = viewer_of(ask.hub, ask.request, ask.caller).t
    return page(
        ask,
        "organisation.html",
        account=ask.org,
        members=members,
        invited=invited,
        countries=country_choices(ask),
        roles=ROLES,
        roles_named=[(role, t(f"role.{role}")) for role in ROLES],
        code=code,
    )


def _done(ask: Ask, what: str = "saved") -> Response:
    return go_to(f"/organizations/{ask.org.name}/settings", what)


def change(ask: Ask) -> Response:
    """Change what an organisation says of itself."""
    with ask.hub.database.write() as connection:
        profiles.set_profile(connection, ask.caller.name, ask.org, **profile_values(ask))
    return _done(ask)


def set_role(ask: Ask) -> Response:
    """Change a member's role."""
    with ask.hub.database.write() as connection:
        user = profiles.active_account(connection, ask.value("user"), "user")
        people.set_role(connection, ask.caller.name, ask.org, user, field(ask, "role"))
    return _done(ask)


def remove(ask: Ask) -> Response:
    """Take a user out."""
    with ask.hub.database.write() as connection:
        user = profiles.known_account(connection, ask.value("user"), "user")
        organisations.remove_member(connection, ask.caller.name, ask.org, user)
    return _done(ask)


def invite(ask: Ask) -> Response:
    """Make an invitation and show its code, this once."""
    with ask.hub.database.write() as connection:
        code = invitations.invite(
            connection,
            ask.caller.name,
            by=ask.need_account(),
            org=ask.org,
            role=field(ask, "role"),
            email=field(ask, "email"),
        )
    return _settings(ask, code)


def withdraw(ask: Ask) -> Response:
    """Take an open invitation back."""
    with ask.hub.database.write() as connection:
        invitations.withdraw(connection, ask.caller.name, ask.org, number(ask, "number"))
    return _done(ask, "withdrawn")


def leave(ask: Ask) -> Response:
    """Leave an organisation; its last admin cannot."""
    row = account_of(ask)
    with ask.hub.database.write() as connection:
        org = profiles.active_account(connection, ask.value("org"), "org")
        organisations.remove_member(connection, ask.caller.name, org, row)
    return go_to("/settings/organizations", "left")


ONE = "/organizations/{org}"
ROUTES = [
    Route("GET", f"{ONE}/settings", Need.ORG_ADMIN, settings, page=True),
    Route("POST", f"{ONE}/settings", Need.ORG_ADMIN, change, page=True),
    Route("POST", f"{ONE}/members/{{user}}/role", Need.ORG_ADMIN, set_role, page=True),
    Route("POST", f"{ONE}/members/{{user}}/remove", Need.ORG_ADMIN, remove, page=True),
    Route("POST", f"{ONE}/invitations", Need.ORG_ADMIN, invite, page=True),
    Route("POST", f"{ONE}/invitations/{{number}}/withdraw", Need.ORG_ADMIN, withdraw, page=True),
    Route("POST", f"{ONE}/leave", Need.WRITING, leave, page=True),
]
