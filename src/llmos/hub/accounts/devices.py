"""Signing a device in by a browser elsewhere (RFC 8628): the device shows a short code, its user
enters it where they are signed in, the device is given a token. `hf auth login` does it so."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, update

from llmos.hub.accounts import audit, people
from llmos.hub.accounts.secrets import fingerprint, new_code
from llmos.hub.accounts.tokens import DAY
from llmos.hub.database.connection import now
from llmos.hub.database.tables import accounts, device_logins
from llmos.hub.errors import HubError
from llmos.hub.hub import Hub

LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so that no words come out (RFC 8628, section 6.1)
LIFETIME = 900  # seconds to allow it in
INTERVAL = 5  # seconds between two questions of the device
TOKEN_DAYS = 30
MOST = 5000  # waiting at once


@dataclass(frozen=True, slots=True)
class DeviceLogin:
    """A sign-in that was begun: `code` is the device's secret, `user_code` what its user enters."""

    code: str
    user_code: str


@dataclass(frozen=True, slots=True)
class DeviceToken:
    """The outcome: a token and how many seconds it lasts."""

    token: str
    seconds: int


def begin(hub: Hub) -> DeviceLogin:
    """Begin a sign-in. Raises `HubError` 503 when too many are waiting."""
    letters = "".join(secrets.choice(LETTERS) for _ in range(8))
    made = DeviceLogin(new_code(), f"{letters[:4]}-{letters[4:]}")
    at = now()
    with hub.database.write() as connection:
        connection.execute(delete(device_logins).where(device_logins.c.expires_at <= at))
        waiting = select(func.count()).select_from(device_logins)
        if connection.execute(waiting).scalar_one() >= MOST:
            raise HubError(503, "Too many sign-ins are waiting", headers={"Retry-After": "60"})
        row = {
            "sha256": fingerprint(made.code),
            "user_code": made.user_code,
            "created_at": at,
            "expires_at": at + LIFETIME * 1000,
        }
        connection.execute(device_logins.insert(), row)
    return made


def decide(connection: Connection, user_id: int, name: str, user_code: str, allow: bool) -> None:
    """Allow or deny the sign-in of a code, as the user who is signed in. Raises `HubError` 404 for
    a code that is wrong, late or was decided on."""
    values = {"account_id": user_id} if allow else {"denied": True}
    decided = (
        update(device_logins)
        .where(
            device_logins.c.user_code == _plain(user_code),
            device_logins.c.expires_at > now(),
            device_logins.c.account_id.is_(None),
            device_logins.c.denied.is_(False),
        )
        .values(**values)
    )
    if connection.execute(decided).rowcount != 1:
        raise HubError(404, "There is no such code (any more): begin again on the device")
    audit.record(connection, name, "device.allow" if allow else "device.deny", name)


def _plain(user_code: str) -> str:
    """The code as it is kept, however it was typed."""
    letters = "".join(letter for letter in user_code.upper()[:40] if letter in LETTERS)
    return f"{letters[:4]}-{letters[4:]}"


def collect(hub: Hub, code: str) -> DeviceToken:
    """The token, once the sign-in is allowed. Until then raises `HubError` 400 with RFC 8628's
    authorization_pending, slow_down, access_denied or expired_token."""
    at = now()
    mine = device_logins.c.sha256 == fingerprint(code)
    refused = ""
    with hub.database.write() as connection:
        row = connection.execute(select(device_logins).where(mine)).first()
        if row is None or row.expires_at <= at:
            refused = "expired_token"
        elif row.denied:
            refused = "access_denied"
        elif row.account_id is None:
            hasty = at - row.asked_at < (INTERVAL - 1) * 1000
            refused = "slow_down" if hasty else "authorization_pending"
            connection.execute(update(device_logins).where(mine).values(asked_at=at))
        else:
            connection.execute(delete(device_logins).where(mine))  # it is given once
            user = connection.execute(select(accounts).where(accounts.c.id == row.account_id)).one()
            if user.disabled_at is not None:
                refused = "access_denied"
            else:
                token = people.make_token(
                    connection,
                    user.name,
                    user,
                    label=f"device {row.user_code}",
                    scope="write",
                    expires_at=at + TOKEN_DAYS * DAY,
                )
    if refused:
        raise oauth_error(refused)
    return DeviceToken(token, TOKEN_DAYS * 86_400)


def oauth_error(code: str, about: str = "") -> HubError:
    """An error in the form of RFC 6749, section 5.2."""
    return HubError(400, about or code, extra={"error": code, "error_description": about or code})
