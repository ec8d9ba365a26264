"""Signing in with a password, and the sessions that come of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.limits import network
from llmos.hub.accounts.passwords import checked_password, hashed, matches, outdated
from llmos.hub.accounts.rights import account_row
from llmos.hub.accounts.secrets import fingerprint, new_code
from llmos.hub.database.connection import now
from llmos.hub.database.tables import accounts, sessions
from llmos.hub.errors import HubError, forbidden
from llmos.hub.hub import Hub


@dataclass(frozen=True, slots=True)
class Session:
    """A session just begun: `code` goes into the cookie and is kept nowhere else."""

    account_id: int
    name: str
    code: str
    csrf: str
    expires_at: int  # milliseconds since 1970


def sign_in(hub: Hub, name: str, password: str, address: str = "") -> Session:
    """A new session of the user `name`, asked for from the network `address`.

    Raises `HubError` 401 when name or password is wrong (it does not say which), 429 after too many
    wrong ones from there or for that user.
    """
    place = network(address)
    with hub.database.read() as connection:
        row = account_row(connection, name)
    known = row is not None and row.kind == "user" and row.disabled_at is None
    hub.limits.logins_from.check(place, "attempts to sign in")
    hub.limits.logins_to.check(name.lower()[:100], "attempts to sign in")
    kept = row.password if row is not None and known else None
    if not matches(kept, password) or row is None or kept is None:
        _note_failure(hub, row.name if row is not None and known else "(unknown)", place)
        raise HubError(401, "The name or the password is wrong")
    hub.limits.logins_from.take(place, -1)  # only wrong ones count
    hub.limits.logins_to.take(name.lower()[:100], -1)
    again = hashed(password) if outdated(kept) else None
    with hub.database.write() as connection:
        # What was checked above must still hold: a password changed meanwhile ends all sessions.
        same = select(accounts.c.id).where(
            accounts.c.id == row.id, accounts.c.password == kept, accounts.c.disabled_at.is_(None)
        )
        if connection.execute(same.with_for_update()).first() is None:
            raise HubError(401, "The name or the password is wrong")
        if again:
            connection.execute(
                update(accounts).where(accounts.c.id == row.id).values(password=again)
            )
        made = start_session(connection, hub, row.id, row.name)
        audit.record(connection, row.name, "login", row.name)
    return made


def start_session(connection: Connection, hub: Hub, account_id: int, name: str) -> Session:
    """A session for somebody who has just proved who it is; expired ones are cleared away."""
    at = now()
    expires_at = at + hub.settings.session_lifetime * 1000
    made = Session(account_id, name, new_code(), new_code(), expires_at)
    connection.execute(
        delete(sessions).where(sessions.c.account_id == account_id, sessions.c.expires_at <= at)
    )
    connection.execute(
        sessions.insert(),
        {
            "sha256": fingerprint(made.code),
            "account_id": account_id,
            "csrf": made.csrf,
            "created_at": at,
            "expires_at": expires_at,
        },
    )
    return made


def sign_out(hub: Hub, code: str) -> None:
    """End the session of this code, if there is one."""
    with hub.database.write() as connection:
        connection.execute(delete(sessions).where(sessions.c.sha256 == fingerprint(code)))


def end_sessions(connection: Connection, account_id: int, but: str | None = None) -> None:
    """End all sessions of an account, but the one of the code `but`."""
    ended = delete(sessions).where(sessions.c.account_id == account_id)
    if but:
        ended = ended.where(sessions.c.sha256 != fingerprint(but))
    connection.execute(ended)


def change_password(
    hub: Hub, account_id: int, old: str, new: str, *, session: str | None = None
) -> None:
    """Give a user another password and end the other sessions (tokens stay: withdraw them one by
    one). Raises `HubError` 403 when `old` is wrong, 422 when `new` is too weak, 429."""
    with hub.database.read() as connection:
        row = connection.execute(select(accounts).where(accounts.c.id == account_id)).one()
    hub.limits.logins_to.check(row.name_key, "wrong passwords")
    if not matches(row.password, old):
        raise forbidden("The old password is wrong")
    hub.limits.logins_to.take(row.name_key, -1)
    set_password(hub, row.name, row, new, session=session)


def set_password(hub: Hub, actor: str, user: Any, new: str, *, session: str | None = None) -> None:
    """Give a user (a row of `accounts`) a password, whatever it was before, and end the sessions,
    but the one of the code `session`. Raises `HubError` 422."""
    kept = hashed(checked_password(new, user.name))
    with hub.database.write() as connection:
        connection.execute(update(accounts).where(accounts.c.id == user.id).values(password=kept))
        end_sessions(connection, user.id, but=session)
        audit.record(connection, actor, "user.password", user.name)


def _note_failure(hub: Hub, name: str, place: str) -> None:
    """An entry in the log, unless there were many lately: a flood must not fill it. The name that
    was tried is not noted when nobody has it: people type passwords into the wrong field."""
    if hub.limits.noted_failures.take("") == 0.0:
        with hub.database.write() as connection:
            audit.record(connection, "", "login.failed", name, network=place)
