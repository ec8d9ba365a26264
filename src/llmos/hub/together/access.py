"""Requests for access to gated repositories: asked, decided, granted without being asked.

With `auto` whoever asks is let in at once, with `manual` those who manage the repository decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller, account_row
from llmos.hub.database.connection import now
from llmos.hub.database.tables import access_requests, accounts, repos
from llmos.hub.errors import HubError, bad_request, unprocessable
from llmos.hub.together.notifications import notify_keepers

STATES = ("pending", "accepted", "rejected")
MOST_FIELDS = 50
LONGEST_FIELD = 2000
PAGE = 100


def ask_for_access(
    connection: Connection, caller: Caller, repo: Row[Any], fields: Mapping[str, Any]
) -> str:
    """Ask to be let in, with what the form of the repository asks for; returns the status: a
    request that is there already stays as it is. Raises `HubError` 400."""
    if not repo.gated:
        raise bad_request(f"{repo.full_name} is not gated: nothing has to be asked")
    checked = checked_fields(fields)
    _lock(connection, repo)
    there = _request(connection, repo, account_id=caller.id)
    if there is not None:
        return str(there.status)
    status = "accepted" if repo.gated == "auto" else "pending"
    row = {
        "repo_id": repo.id,
        "account_id": caller.id,
        "status": status,
        "fields": checked,
        "created_at": now(),
    }
    connection.execute(access_requests.insert(), row)
    audit.record(connection, caller.name, "access.ask", _target(repo), status=status)
    notify_keepers(connection, repo)
    return status


def withdraw(connection: Connection, caller: Caller, repo: Row[Any]) -> None:
    """Take one's request, or the access that came of it, back; a rejection stays.

    Raises `HubError` 404 when there is none.
    """
    there = _request(connection, repo, account_id=caller.id)
    if there is None or there.status == "rejected":
        raise HubError(404, "You have no access request here")
    connection.execute(delete(access_requests).where(access_requests.c.id == there.id))
    audit.record(connection, caller.name, "access.withdraw", _target(repo))


def checked_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The form's answers: texts and yes or no. Raises `HubError` 400."""
    if len(fields) > MOST_FIELDS:
        raise bad_request(f"{len(fields)} fields came; at most {MOST_FIELDS} are kept")
    for name, value in fields.items():
        if not isinstance(value, str | bool | int | float):
            raise bad_request(f"field {name[:40]} must be text, a number, or true or false")
        if len(name) > LONGEST_FIELD or len(str(value)) > LONGEST_FIELD:
            raise bad_request(f"field {name[:40]} is over {LONGEST_FIELD} letters")
        if "\0" in name or "\0" in str(value):
            raise unprocessable(f"field {name[:40]!r} contains a NUL")
    return dict(fields)


def list_requests(
    connection: Connection, repo: Row[Any], status: str, *, after: int = 0
) -> Sequence[Row[Any]]:
    """A hundred requests of a status, by number, after that number: columns of access_requests
    and the user's `name`, `full_name` and `email`. Raises `HubError` 400."""
    if status not in STATES:
        raise bad_request(f"status {status[:40]}: choose one of {', '.join(STATES)}")
    return connection.execute(
        select(access_requests, accounts.c.name, accounts.c.full_name, accounts.c.email)
        .join(accounts, accounts.c.id == access_requests.c.account_id)
        .where(
            access_requests.c.repo_id == repo.id,
            access_requests.c.status == status,
            access_requests.c.id > after,
        )
        .order_by(access_requests.c.id)
        .limit(PAGE)
    ).all()


def decide(
    connection: Connection,
    caller: Caller,
    repo: Row[Any],
    status: str,
    *,
    user: str | None = None,
    request_id: int | None = None,
    reason: str = "",
) -> None:
    """Accept, reject, or set back to pending, the request of a user or of that number.

    Raises `HubError` 404 when there is none or it has that status already, 400 for the status.
    """
    if status not in STATES:
        raise bad_request(f"status {status[:40]}: choose one of {', '.join(STATES)}")
    account = account_row(connection, user) if user else None
    there = _request(
        connection, repo, account_id=account.id if account else None, request_id=request_id
    )
    if there is None:
        raise HubError(404, "There is no such access request")
    if there.status == status:
        raise HubError(404, f"The access request is {status} already")
    this = access_requests.c.id == there.id
    connection.execute(update(access_requests).where(this).values(status=status))
    name = select(accounts.c.name).where(accounts.c.id == there.account_id)
    audit.record(
        connection,
        caller.name,
        "access.decide",
        _target(repo),
        user=connection.execute(name).scalar_one(),
        status=status,
        reason=bool(reason),
    )


def grant(connection: Connection, caller: Caller, repo: Row[Any], user: str) -> None:
    """Let a user in who has not asked.

    Raises `HubError` 400 when the repository is not gated or there is a request, 404 when there is
    no such user.
    """
    if not repo.gated:
        raise bad_request(f"{repo.full_name} is not gated: everybody has access")
    account = account_row(connection, user)
    if account is None or account.kind != "user":
        raise HubError(404, f"There is no user {user[:96]}")
    _lock(connection, repo)
    if _request(connection, repo, account_id=account.id):
        raise bad_request(f"{account.name} has an access request already: handle that one")
    row = {
        "repo_id": repo.id,
        "account_id": account.id,
        "status": "accepted",
        "granted": True,
        "created_at": now(),
    }
    connection.execute(access_requests.insert(), row)
    audit.record(connection, caller.name, "access.grant", _target(repo), user=account.name)


def _request(
    connection: Connection,
    repo: Row[Any],
    *,
    account_id: int | None = None,
    request_id: int | None = None,
) -> Row[Any] | None:
    if account_id is None and request_id is None:
        return None
    wanted = select(access_requests).where(access_requests.c.repo_id == repo.id)
    if account_id is not None:
        wanted = wanted.where(access_requests.c.account_id == account_id)
    if request_id is not None:
        wanted = wanted.where(access_requests.c.id == request_id)
    return connection.execute(wanted.with_for_update()).first()


def _lock(connection: Connection, repo: Row[Any]) -> None:
    """Let two requests at once wait for each other, as they look before they insert."""
    connection.execute(select(repos.c.id).where(repos.c.id == repo.id).with_for_update())


def _target(repo: Row[Any]) -> str:
    return f"{repo.kind}:{repo.full_name}"
