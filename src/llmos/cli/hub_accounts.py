"""`llmos hub user|org|token|invite`: who may use a hub, set from the machine it runs on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmos.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from llmos.hub.hub import Hub

ACTOR = "llmos hub"  # who did it, in the audit log
Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Where the hub keeps its data (LLMOS_HUB_FOLDER; hub-data)."),
]
Database = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="The hub's database, if not there.")
]
User = Annotated[str, typer.Argument(metavar="USER")]
Org = Annotated[str, typer.Argument(metavar="ORG")]
Role = Annotated[str, typer.Argument(help="reader, contributor, maintainer or admin.")]

users = typer.Typer(help="People: add, list, disable, delete.", no_args_is_help=True)
orgs = typer.Typer(help="Organisations and who is in them.", no_args_is_help=True)
tokens = typer.Typer(help="Tokens: add, list, revoke.", no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Put these commands into the group `llmos hub`."""
    app.add_typer(users, name="user")
    app.add_typer(orgs, name="org")
    app.add_typer(tokens, name="token")
    app.command("invite")(invite)


@contextmanager
def _hub(folder: Path | None, database: str | None) -> Iterator[Hub]:
    try:
        from llmos.hub.server import opened
        from llmos.hub.settings import from_environment
    except ImportError as error:
        raise UsageError(f"{error.name} is missing: pip install 'llmos[hub]'") from error
    settings = from_environment(folder=folder, database=database)
    if not settings.database and not (settings.folder / "hub.db").exists():
        raise UsageError(f"there is no hub in {settings.folder}: llmos hub start makes one")
    hub = opened(settings)
    try:
        yield hub
    finally:
        hub.close()


def _account(connection: Connection, name: str, kind: str) -> Any:
    from llmos.hub.accounts.rights import account_row

    row = account_row(connection, name)
    if row is None or row.kind != kind:
        raise UsageError(f"there is no {'user' if kind == 'user' else 'organisation'} {name}")
    return row


def _day(at: int | None) -> str:
    from datetime import UTC, datetime

    return "-" if at is None else f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d}"


def _password(stdin: bool) -> str:
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


@users.command("add")
def add_user(
    name: User,
    admin: Annotated[bool, typer.Option("--admin", help="Of the whole hub.")] = False,
    full_name: Annotated[str, typer.Option("--full-name")] = "",
    email: Annotated[str, typer.Option("--email")] = "",
    password: Annotated[bool, typer.Option("--password", help="Ask for one.")] = False,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read one from standard input.")
    ] = False,
    folder: Folder = None,
    database: Database = None,
) -> None:
    """Add a user. Without a password they sign in with tokens only."""
    from llmos.hub.accounts import people
    from llmos.hub.accounts.passwords import checked_password, hashed
    from llmos.hub.accounts.profiles import checked_profile

    given = _password(password_stdin) if password or password_stdin else None
    kept = hashed(checked_password(given, name)) if given is not None else None
    about = checked_profile({"full_name": full_name, "email": email})
    with _hub(folder, database) as hub, hub.database.write() as connection:
        people.make_account(connection, ACTOR, name, admin=admin, password=kept, **about)
    typer.echo(f"{name} is there. Give them a token: llmos hub token add {name}")


@users.command("list")
def list_users(folder: Folder = None, database: Database = None) -> None:
    """List all users: name, since when, admin or disabled."""
    from sqlalchemy import select

    from llmos.hub.database.tables import accounts

    with _hub(folder, database) as hub, hub.database.read() as connection:
        people = select(accounts).where(accounts.c.kind == "user").order_by(accounts.c.name_key)
        for row in connection.execute(people):
            marks = ["admin"] * row.admin + ["disabled"] * (row.disabled_at is not None)
            typer.echo("\t".join([row.name, _day(row.created_at), " ".join(marks)]).rstrip())


@users.command("password")
def set_user_password(
    name: User,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read it from standard input.")
    ] = False,
    folder: Folder = None,
    database: Database = None,
) -> None:
    """Give a user a new password; their sessions end."""
    from llmos.hub.accounts.sessions import set_password

    with _hub(folder, database) as hub:
        with hub.database.read() as connection:
            row = _account(connection, name, "user")
        set_password(hub, ACTOR, row, _password(password_stdin))


@users.command("admin")
def make_admin(
    name: User,
    no: Annotated[bool, typer.Option("--no", help="No longer.")] = False,
    folder: Folder = None,
    database: Database = None,
) -> None:
    """Make a user an admin of the whole hub."""
    from llmos.hub.accounts.standing import set_hub_admin

    with _hub(folder, database) as hub, hub.database.write() as connection:
        set_hub_admin(connection, ACTOR, _account(connection, name, "user"), not no)


@users.command("disable")
def disable_user(name: User, folder: Folder = None, database: Database = None) -> None:
    """Keep a user out at once: password, tokens and sessions open nothing."""
    from llmos.hub.accounts.standing import disable

    with _hub(folder, database) as hub, hub.database.write() as connection:
        disable(connection, ACTOR, _account(connection, name, "user"))


@users.command("enable")
def enable_user(name: User, folder: Folder = None, database: Database = None) -> None:
    """Let a disabled user in again."""
    from llmos.hub.accounts.standing import enable

    with _hub(folder, database) as hub, hub.database.write() as connection:
        enable(connection, ACTOR, _account(connection, name, "user"))


@users.command("delete")
def delete_one_user(name: User, folder: Folder = None, database: Database = None) -> None:
    """Delete what is known of a user who owns no repositories; the name stays taken."""
    from llmos.hub.accounts.standing import delete_user

    with _hub(folder, database) as hub, hub.database.write() as connection:
        delete_user(connection, ACTOR, _account(connection, name, "user"))


@orgs.command("add")
def add_org(
    name: Org,
    admin: Annotated[str, typer.Option("--admin", metavar="USER", help="Its first admin.")],
    full_name: Annotated[str, typer.Option("--full-name")] = "",
    folder: Folder = None,
    database: Database = None,
) -> None:
    """Add an organisation."""
    from llmos.hub.accounts.organisations import make_organisation

    with _hub(folder, database) as hub, hub.database.write() as connection:
        maker = _account(connection, admin, "user")
        make_organisation(connection, maker, name, full_name=full_name)


@orgs.command("list")
def list_orgs(
    name: Annotated[str | None, typer.Argument(metavar="[ORG]")] = None,
    folder: Folder = None,
    database: Database = None,
) -> None:
    """List all organisations, or the members of one with their roles."""
    from sqlalchemy import select

    from llmos.hub.accounts.organisations import members_of
    from llmos.hub.database.tables import accounts

    with _hub(folder, database) as hub, hub.database.read() as connection:
        if name is not None:
            for row in members_of(connection, _account(connection, name, "org").id):
                typer.echo(f"{row.name}\t{row.role}")
            return
        found = select(accounts).where(accounts.c.kind == "org", accounts.c.disabled_at.is_(None))
        for row in connection.execute(found.order_by(accounts.c.name_key)):
            typer.echo(f"{row.name}\t{_day(row.created_at)}\t{row.full_name}".rstrip())


@orgs.command("role")
def set_org_role(
    org: Org, user: User, role: Role, folder: Folder = None, database: Database = None
) -> None:
    """Put a user into an organisation, or change the role there."""
    from llmos.hub.accounts.people import set_role

    with _hub(folder, database) as hub, hub.database.write() as connection:
        row = _account(connection, org, "org")
        set_role(connection, ACTOR, row, _account(connection, user, "user"), role)


@orgs.command("remove")
def remove_from_org(org: Org, user: User, folder: Folder = None, database: Database = None) -> None:
    """Take a user out of an organisation."""
    from llmos.hub.accounts.organisations import remove_member

    with _hub(folder, database) as hub, hub.database.write() as connection:
        row = _account(connection, org, "org")
        remove_member(connection, ACTOR, row, _account(connection, user, "user"))


@tokens.command("add")
def add_user_token(
    user: User,
    scope: Annotated[str, typer.Option("--scope", help="read, write or fineGrained.")] = "write",
    repo: Annotated[
        list[str] | None,
        typer.Option("--repo", metavar="NAME", help="What a fineGrained one writes to; repeat it."),
    ] = None,
    label: Annotated[str, typer.Option("--label")] = "default",
    days: Annotated[int | None, typer.Option("--days", help="Until it expires.")] = None,
    value: Annotated[
        str | None, typer.Option("--value", help="A fixed one; in tests only: it can be guessed.")
    ] = None,
    folder: Folder = None,
    database: Database = None,
) -> None:
    """Make a token and print it: it is shown this once."""
    from llmos.hub.accounts.tokens import add_token

    with _hub(folder, database) as hub, hub.database.write() as connection:
        row = _account(connection, user, "user")
        secret = add_token(
            connection,
            ACTOR,
            row,
            label=label,
            scope=scope,
            repos=repo or [],
            days=days,
            value=value,
        )
    typer.echo(secret)


@tokens.command("list")
def list_user_tokens(user: User, folder: Folder = None, database: Database = None) -> None:
    """List a user's tokens: number, label, scope, made, expires, last used."""
    from llmos.hub.accounts.tokens import tokens_of

    with _hub(folder, database) as hub, hub.database.read() as connection:
        for row in tokens_of(connection, _account(connection, user, "user").id):
            days = (_day(row.created_at), _day(row.expires_at), _day(row.used_at))
            typer.echo("\t".join([str(row.id), row.label, row.scope, *days]))


@tokens.command("revoke")
def revoke_user_token(
    user: User,
    number: Annotated[int, typer.Argument(help="As `token list` shows it.")],
    folder: Folder = None,
    database: Database = None,
) -> None:
    """Withdraw a token: it opens nothing from now on."""
    from llmos.hub.accounts.tokens import revoke_token

    with _hub(folder, database) as hub, hub.database.write() as connection:
        revoke_token(connection, ACTOR, _account(connection, user, "user"), number)


def invite(
    org: Annotated[str | None, typer.Option("--org", help="Into this organisation too.")] = None,
    role: Annotated[str, typer.Option("--role", help="The role there.")] = "reader",
    email: Annotated[str, typer.Option("--email", help="Whom it is for; nothing is sent.")] = "",
    days: Annotated[int, typer.Option("--days", help="For how long it holds.")] = 7,
    folder: Folder = None,
    database: Database = None,
) -> None:
    """Make an invitation and print its code: it works once."""
    from llmos.hub.accounts import invitations

    with _hub(folder, database) as hub, hub.database.write() as connection:
        row = _account(connection, org, "org") if org else None
        code = invitations.invite(
            connection, ACTOR, by=None, org=row, role=role, email=email, days=days
        )
    typer.echo(code)
