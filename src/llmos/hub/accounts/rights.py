"""Who may do what. Every route names the right it needs; this is where it is decided.

READ     see that it is there, its card and facts     anybody, if it is public; readers
CONTENT  read its files                               the same, once let in; readers
PROPOSE  open discussions and pull requests           who may read the files and has signed in
WRITE    commit                                       contributors what they made; maintainers
MANAGE   settings, branches, merges, access requests  maintainers
OWN      delete, move                                 admins

A token may do less than its owner: one of scope read only reads; a fineGrained one writes only to
the repositories that it names, by the name they have or one that they had. A disabled repository is
shown to its own people, and only the hub's admins open or change it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from llmos.hub.database.tables import access_requests, accounts, memberships, redirects

ROLES = ("reader", "contributor", "maintainer", "admin")


class Right(IntEnum):
    """What a caller may do with a repository; each includes those before it."""

    NONE = 0
    READ = 1
    CONTENT = 2
    PROPOSE = 3
    WRITE = 4
    MANAGE = 5
    OWN = 6


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking. Nobody in particular: `id` is None."""

    id: int | None = None
    name: str = ""
    admin: bool = False  # of the whole hub
    scope: str = "read"  # of the token: read | write | fineGrained; a session is "write"
    label: str = ""  # of the token
    repos: tuple[str, ...] = ()  # lower-case names that a fineGrained token may write to
    session: bool = False  # signed in with a browser: forms need the CSRF token
    csrf: str = ""
    roles: dict[int, str] = field(default_factory=dict)  # organisation id -> role

    @property
    def known(self) -> bool:
        """Whether somebody has signed in or sent a token."""
        return self.id is not None

    @property
    def may_write(self) -> bool:
        """Whether the token (or session) is for more than reading."""
        return self.known and self.scope != "read"

    @property
    def whole(self) -> bool:
        """Whether the caller may do all that the account may: a session, or a token of scope write.
        Of what is not about a repository, a fineGrained token does nothing."""
        return self.known and self.scope == "write"

    def may_write_to(self, name_key: str) -> bool:
        """Whether the token (or session) is for writing to the repository of this name, lower case;
        its owner needs the right as well."""
        if self.scope != "fineGrained":
            return self.may_write
        return self.known and (name_key in self.repos or name_key.partition("/")[0] in self.repos)


NOBODY = Caller()
_ROLES_OF = select(memberships.c.org_id, memberships.c.role).where(
    memberships.c.user_id == bindparam("user_id")
)
_ACCESS = select(access_requests.c.status).where(
    access_requests.c.repo_id == bindparam("repo_id"),
    access_requests.c.account_id == bindparam("account_id"),
)


_NAMED_BEFORE = select(redirects.c.repo_id).where(
    redirects.c.repo_id == bindparam("repo_id"),
    redirects.c.name_key.in_(bindparam("names", expanding=True)),
)


def roles_of(connection: Connection, user_id: int) -> dict[int, str]:
    """The organisations that a user is in, with the role in each."""
    return {row.org_id: row.role for row in connection.execute(_ROLES_OF, {"user_id": user_id})}


def role_in(caller: Caller, account_id: int | None) -> str | None:
    """The caller's role in an account: one's own account and a hub's admin count as admin."""
    if not caller.known:
        return None
    if caller.admin or caller.id == account_id:
        return "admin"
    return caller.roles.get(account_id) if account_id is not None else None


def right_on(connection: Connection, caller: Caller, repo: Row[Any]) -> Right:
    """The most that `caller` may do with `repo` (a row of `repos`)."""
    role = role_in(caller, repo.owner_id)
    if role is None:
        return _right_of_others(connection, caller, repo)
    if repo.disabled and not caller.admin:
        return Right.READ
    right = {
        "reader": Right.PROPOSE,
        "contributor": Right.WRITE if repo.created_by == caller.id else Right.PROPOSE,
        "maintainer": Right.MANAGE,
        "admin": Right.OWN,
    }[role]
    return right if _token_is_for(connection, caller, repo) else min(right, Right.CONTENT)


def _right_of_others(connection: Connection, caller: Caller, repo: Row[Any]) -> Right:
    if repo.private or repo.disabled:
        return Right.NONE
    if repo.sharing != "open":
        return Right.READ  # the data stay at home; only the card is for everybody
    if repo.gated and not _let_in(connection, caller, repo.id):
        return Right.READ
    return Right.PROPOSE if _token_is_for(connection, caller, repo) else Right.CONTENT


def _token_is_for(connection: Connection, caller: Caller, repo: Row[Any]) -> bool:
    if caller.may_write_to(repo.name_key):
        return True
    if not caller.known or caller.scope != "fineGrained":
        return False
    asked = {"repo_id": repo.id, "names": list(caller.repos)}
    return connection.execute(_NAMED_BEFORE, asked).first() is not None


def _let_in(connection: Connection, caller: Caller, repo_id: int) -> bool:
    if not caller.known:
        return False
    asked = {"repo_id": repo_id, "account_id": caller.id}
    return connection.execute(_ACCESS, asked).scalar() == "accepted"


def may_create_in(caller: Caller, account_id: int | None, name_key: str = "") -> bool:
    """Whether the caller may make a repository in an account; None (a short name): hub admins."""
    if not caller.may_write_to(name_key):
        return False
    return role_in(caller, account_id) in ("contributor", "maintainer", "admin")


def visible(caller: Caller, table: Any) -> Any:
    """The SQL condition under which rows of `repos` may be listed for the caller."""
    if caller.admin:
        return table.c.id.is_not(None)
    condition = table.c.private.is_(False) & table.c.disabled.is_(False)
    if caller.known:
        mine = [caller.id, *caller.roles]
        condition = condition | table.c.owner_id.in_(mine)
    return condition


def account_row(connection: Connection, name: str) -> Row[Any] | None:
    """The user or organisation of that name, in any case of letters."""
    return connection.execute(select(accounts).where(accounts.c.name_key == name.lower())).first()
