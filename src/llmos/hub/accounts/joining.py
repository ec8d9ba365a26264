"""Signing up: a new account by invitation, or by anybody where the hub is open."""

from __future__ import annotations

from sqlalchemy import update

from llmos.hub.accounts import invitations, people
from llmos.hub.accounts.limits import network
from llmos.hub.accounts.passwords import checked_password, hashed
from llmos.hub.accounts.profiles import checked_profile
from llmos.hub.accounts.sessions import Session, start_session
from llmos.hub.database.tables import accounts
from llmos.hub.errors import forbidden
from llmos.hub.hub import Hub
from llmos.hub.repos.names import checked_account_name


def sign_up(
    hub: Hub,
    name: str,
    password: str,
    *,
    email: str = "",
    full_name: str = "",
    code: str = "",
    address: str = "",
) -> Session:
    """A new user, signed in. `code` is an invitation's, which is used up and puts the user into its
    organisation.

    Raises `HubError` 403 where an invitation is needed and none is given, 404 for one that does not
    hold, 400, 409 or 422 for the name, 422 for the password, 429 after too many tries.
    """
    hub.limits.signups.check(network(address), "attempts to sign up")
    if hub.settings.signup != "open" and not code:
        raise forbidden("One joins this hub by invitation: ask a member for one")
    checked_account_name(name)
    checked_password(password, name)
    about = checked_profile({"email": email, "full_name": full_name})
    if code:
        with hub.database.read() as connection:  # before time is spent on the password
            invitations.invitation(connection, code)
    kept = hashed(password)
    with hub.database.write() as connection:
        user = people.make_account(connection, name, name, **about)
        connection.execute(update(accounts).where(accounts.c.id == user.id).values(password=kept))
        if code:
            invitations.accept(connection, user, code)
        return start_session(connection, hub, user.id, user.name)
