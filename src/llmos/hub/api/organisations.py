"""/api/hub: accounts as others see them, organisations, invitations, and the audit log."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import Row, func, select
from starlette.responses import Response

from llmos.hub.accounts import audit as log
from llmos.hub.accounts import invitations, organisations, people, profiles, standing
from llmos.hub.accounts.keys import revoke_key
from llmos.hub.api import account_forms as forms
from llmos.hub.api.accounts import (
    account_of,
    challenged,
    documented,
    key_added,
    number,
    plain,
    said,
    when,
)
from llmos.hub.api.asking import Ask, answer, iso
from llmos.hub.api.routing import Need
from llmos.hub.database.tables import audit

PAGE = 100  # entries of the log


def show_account(ask: Ask) -> Response:
    """What everybody may see of a user or an organisation."""
    with ask.hub.database.read() as connection:
        row = profiles.active_account(connection, ask.value("account"))
        shown = profiles.public_profile(connection, row)
    keys = [{**key, **_times(key, "created_at", "revoked_at")} for key in shown["keys"]]
    return said(forms.ProfileShown, **{**shown, **_times(shown, "created_at"), "keys": keys})


def _times(item: Any, *names: str) -> dict[str, str | None]:
    return {name: when(item[name]) for name in names}


def set_standing(ask: Ask) -> Response:
    """Keep an account out, or let it in again."""
    disabled = cast(forms.Standing, ask.data).disabled
    with ask.hub.database.write() as connection:
        row = profiles.known_account(connection, ask.value("account"))
        change = standing.disable if disabled else standing.enable
        change(connection, ask.caller.name, row)
    return said()


def make_org(ask: Ask) -> Response:
    """Make an organisation, of which the caller is the admin."""
    data = cast(forms.NewOrganisation, ask.data)
    with ask.hub.database.write() as connection:
        organisations.make_organisation(
            connection, account_of(ask), data.name, full_name=data.full_name
        )
    return said()


def change_org(ask: Ask) -> Response:
    """Change what an organisation says of itself."""
    change = cast(forms.ProfileChange, ask.data).model_dump(exclude_none=True)
    with ask.hub.database.write() as connection:
        profiles.set_profile(connection, ask.caller.name, ask.org, **change)
    return said()


def delete_org(ask: Ask) -> Response:
    """Dissolve an organisation that has no repositories. The name stays taken."""
    with ask.hub.database.write() as connection:
        organisations.delete_organisation(connection, ask.caller.name, ask.org)
    return said()


def list_members(ask: Ask) -> Response:
    """Who is in an organisation, with the role."""
    with ask.hub.database.read() as connection:
        org = profiles.active_account(connection, ask.value("org"), "org")
        rows = organisations.members_of(connection, org.id)
    names = ("name", "full_name", "country", "role")
    return answer(
        [{**{one: row._mapping[one] for one in names}, "since": iso(row.since)} for row in rows]
    )


def set_member(ask: Ask) -> Response:
    """Put a user into an organisation, or change the role there."""
    role = cast(forms.RoleChange, ask.data).role
    with ask.hub.database.write() as connection:
        user = profiles.active_account(connection, ask.value("user"), "user")
        people.set_role(connection, ask.caller.name, ask.org, user, role)
    return said()


def remove_member(ask: Ask) -> Response:
    """Take a user out of an organisation."""
    with ask.hub.database.write() as connection:
        user = profiles.known_account(connection, ask.value("user"), "user")
        organisations.remove_member(connection, ask.caller.name, ask.org, user)
    return said()


def leave(ask: Ask) -> Response:
    """Leave an organisation; its last admin cannot."""
    with ask.hub.database.write() as connection:
        org = profiles.active_account(connection, ask.value("org"), "org")
        organisations.remove_member(connection, ask.caller.name, org, account_of(ask))
    return said()


def org_challenge(ask: Ask) -> Response:
    """What to sign to add a key to an organisation, as kind `hub_key`."""
    return challenged(ask, ask.org)


def new_org_key(ask: Ask) -> Response:
    """Add a public key that an organisation signs with; revoke another at once, if told so."""
    return key_added(ask, ask.org)


def withdraw_org_key(ask: Ask) -> Response:
    """Revoke a key of an organisation: from now on it signs nothing; it stays listed."""
    with ask.hub.database.write() as connection:
        revoke_key(connection, ask.caller.name, ask.org, ask.value("public_key"))
    return said()


def invite_to_org(ask: Ask) -> Response:
    """Invite somebody into an organisation; the code is shown this once."""
    return _invited(ask, ask.org)


def invite_to_hub(ask: Ask) -> Response:
    """Invite somebody to the hub; the code is shown this once."""
    return _invited(ask, None)


def _invited(ask: Ask, org: Row[Any] | None) -> Response:
    given = cast(forms.NewInvitation, ask.data).model_dump()
    by = ask.need_account()
    with ask.hub.database.write() as connection:
        code = invitations.invite(connection, ask.caller.name, by=by, org=org, **given)
    return said(forms.InvitationMade, code=code)


def list_org_invitations(ask: Ask) -> Response:
    """An organisation's open invitations."""
    return _open(ask, ask.org)


def list_hub_invitations(ask: Ask) -> Response:
    """Open invitations to the hub."""
    return _open(ask, None)


def _open(ask: Ask, org: Row[Any] | None) -> Response:
    with ask.hub.database.read() as connection:
        rows = invitations.open_invitations(connection, org.id if org else None)
    name = org.name if org else None
    return answer([_invitation(row, name) for row in rows])


def _invitation(row: Row[Any], organisation: str | None) -> dict[str, Any]:
    shown = {"id": row.id, "organisation": organisation, "role": row.role, "email": row.email}
    return {**shown, "expires_at": iso(row.expires_at)}


def withdraw_from_org(ask: Ask) -> Response:
    """Take back an open invitation into an organisation."""
    with ask.hub.database.write() as connection:
        invitations.withdraw(connection, ask.caller.name, ask.org, number(ask, "number"))
    return said()


def withdraw_from_hub(ask: Ask) -> Response:
    """Take back an open invitation to the hub."""
    with ask.hub.database.write() as connection:
        invitations.withdraw(connection, ask.caller.name, None, number(ask, "number"))
    return said()


def look_at_invitation(ask: Ask) -> Response:
    """What an invitation is to. The code is in the body, so that no log of addresses has it."""
    with ask.hub.database.read() as connection:
        row = invitations.invitation(connection, cast(forms.Code, ask.data).code)
    return answer(_invitation(row, row.org))


def accept_invitation(ask: Ask) -> Response:
    """Use an invitation: the caller gets the role it gives."""
    with ask.hub.database.write() as connection:
        row = invitations.accept(connection, account_of(ask), cast(forms.Code, ask.data).code)
    return answer(_invitation(row, row.org))


def show_audit(ask: Ask) -> Response:
    """Entries of the log after the number `after`, a hundred at a time."""
    after = ask.query_number("after", 0, 10**12)
    with ask.hub.database.read() as connection:
        found = select(audit).where(audit.c.number > after).order_by(audit.c.number).limit(PAGE)
        rows = connection.execute(found).all()
    return answer([{**plain(row), "at": iso(row.at)} for row in rows])


def check_audit(ask: Ask) -> Response:
    """Go through the whole log: does each entry follow from the one before?"""
    with ask.hub.database.read() as connection:
        broken = list(log.broken_entries(connection))
        entries = connection.execute(select(func.count()).select_from(audit)).scalar_one()
        newest = select(audit.c.hash).order_by(audit.c.number.desc()).limit(1)
        head = connection.execute(newest).scalar() or log.START
    return said(forms.AuditCheck, entries=entries, head=head, broken=broken[:1000])


_INVITED = forms.InvitationMade
_OPEN = list[forms.InvitationShown]
ROUTES = [
    documented("GET", "accounts/{account}", Need.PUBLIC, show_account, None, forms.ProfileShown),
    documented("PUT", "accounts/{account}/standing", Need.ADMIN, set_standing, forms.Standing),
    documented("POST", "orgs", Need.WRITING, make_org, forms.NewOrganisation),
    documented("PATCH", "orgs/{org}", Need.ORG_ADMIN, change_org, forms.ProfileChange),
    documented("DELETE", "orgs/{org}", Need.ORG_ADMIN, delete_org),
    documented(
        "GET", "orgs/{org}/members", Need.PUBLIC, list_members, None, list[forms.MemberShown]
    ),
    documented("PUT", "orgs/{org}/members/{user}", Need.ORG_ADMIN, set_member, forms.RoleChange),
    documented("DELETE", "orgs/{org}/members/{user}", Need.ORG_ADMIN, remove_member),
    documented("POST", "orgs/{org}/leave", Need.WRITING, leave),
    documented(
        "POST", "orgs/{org}/keys/challenge", Need.ORG_ADMIN, org_challenge, None, forms.Challenge
    ),
    documented(
        "POST", "orgs/{org}/keys", Need.ORG_ADMIN, new_org_key, forms.NewKey, forms.KeyAdded
    ),
    documented("DELETE", "orgs/{org}/keys/{public_key}", Need.ORG_ADMIN, withdraw_org_key),
    documented("GET", "orgs/{org}/invitations", Need.ORG_ADMIN, list_org_invitations, None, _OPEN),
    documented(
        "POST",
        "orgs/{org}/invitations",
        Need.ORG_ADMIN,
        invite_to_org,
        forms.NewInvitation,
        _INVITED,
    ),
    documented("DELETE", "orgs/{org}/invitations/{number}", Need.ORG_ADMIN, withdraw_from_org),
    documented("GET", "invitations", Need.ADMIN, list_hub_invitations, None, _OPEN),
    documented("POST", "invitations", Need.ADMIN, invite_to_hub, forms.NewInvitation, _INVITED),
    documented("DELETE", "invitations/{number}", Need.ADMIN, withdraw_from_hub),
    documented(
        "POST",
        "invitations/look",
        Need.PUBLIC,
        look_at_invitation,
        forms.Code,
        forms.InvitationShown,
    ),
    documented(
        "POST",
        "invitations/accept",
        Need.WRITING,
        accept_invitation,
        forms.Code,
        forms.InvitationShown,
    ),
    documented("GET", "audit", Need.ADMIN, show_audit, None, list[forms.AuditEntry]),
    documented("GET", "audit/check", Need.ADMIN, check_audit, None, forms.AuditCheck),
]
