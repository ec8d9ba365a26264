"""`llmos hub user|org|token|invite`: who may use a hub, set from the machine it runs on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from llmos.cli import hub_tokens
from llmos.cli.hub_opening import ACTOR, Database, Folder, Org, User, account_named, day, opened_hub

No = Annotated[bool, typer.Option("--no", help="No longer.")]
Role = Annotated[str, typer.Argument(help="reader, contributor, maintainer or admin.")]

users = typer.Typer(help="People: add, list, disable, delete.", no_args_is_help=True)
orgs = typer.Typer(help="Organisations and who is in them.", no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Put these commands into the group `llmos hub`."""
    app.add_typer(users, name="user")
    app.add_typer(orgs, name="org")
    app.add_typer(hub_tokens.tokens, name="token")
    app.command("invite")(hub_tokens.invite)


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
    with opened_hub(folder, database) as hub, hub.database.write() as connection:
        people.make_account(connection, ACTOR, name, admin=admin, password=kept, **about)
    typer.echo(f"{name} is there. Give them a token: llmos hub token add {name}")


@users.command("list")
def list_users(folder: Folder = None, database: Database = None) -> None:
    """List all users: name, since when, admin or disabled."""
    from sqlalchemy import select

    from llmos.hub.database.tables import accounts

    with opened_hub(folder, database) as hub, hub.database.read() as connection:
        people = select(accounts).where(accounts.c.kind == "user").order_by(accounts.c.name_key)
        for row in connection.execute(people):
            marks = ["admin"] * row.admin + ["disabled"] * (row.disabled_at is not None)
            typer.echo("\t".join([row.name, day(row.created_at), " ".join(marks)]).rstrip())


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

    with opened_hub(folder, database) as hub:
        with hub.database.read() as connection:
            row = account_named(connection, name, "user")
        set_password(hub, ACTOR, row, _password(password_stdin))


@users.command("admin")
def make_admin(
    name: User, no: No = False, folder: Folder = None, database: Database = None
) -> None:
    """Make a user an admin of the whole hub."""
    from llmos.hub.accounts.standing import set_hub_admin

    with opened_hub(folder, database) as hub, hub.database.write() as connection:
        set_hub_admin(connection, ACTOR, account_named(connection, name, "user"), not no)


@users.command("private")
def make_user_private(
    name: User, no: No = False, folder: Folder = None, database: Database = None
) -> None:
    """Make a user's new repositories private, unless somebody says otherwise."""
    _set_private(name, "user", not no, folder, database)


def _set_private(
    name: str, kind: str, private: bool, folder: Path | None, database: str | None
) -> None:
    from llmos.hub.accounts.profiles import set_profile

    with opened_hub(folder, database) as hub, hub.database.write() as connection:
        row = account_named(connection, name, kind)
        set_profile(connection, ACTOR, row, private_default=private)


@users.command("disable")
def disable_user(name: User, folder: Folder = None, database: Database = None) -> None:
    """Keep a user out at once: password, tokens and sessions open nothing."""
    from llmos.hub.accounts.standing import disable

    with opened_hub(folder, database) as hub, hub.database.write() as connection:
        disable(connection, ACTOR, account_named(connection, name, "user"))


@users.command("enable")
def enable_user(name: User, folder: Folder = None, database: Database = None) -> None:
    """Let a disabled user in again."""
    from llmos.hub.accounts.standing import enable

    with opened_hub(folder, database) as hub, hub.database.write() as connection:
        enable(connection, ACTOR, account_named(connection, name, "user"))


@users.command("delete")
def delete_one_user(name: User, folder: Folder = None, database: Database = None) -> None:
    """Delete what is known of a user who owns no repositories; the name stays taken."""
    from llmos.hub.accounts.standing import delete_user

    with opened_hub(folder, database) as hub, hub.database.write() as connection:
        delete_user(connection, ACTOR, account_named(connection, name, "user"))


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

    with opened_hub(folder, database) as hub, hub.database.write() as connection:
        maker = account_named(connection, admin, "user")
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

    with opened_hub(folder, database) as hub, hub.database.read() as connection:
        if name is not None:
            for row in members_of(connection, account_named(connection, name, "org").id):
                typer.echo(f"{row.name}\t{row.role}")
            return
        found = select(accounts).where(accounts.c.kind == "org", accounts.c.disabled_at.is_(None))
        for row in connection.execute(found.order_by(accounts.c.name_key)):
            typer.echo(f"{row.name}\t{day(row.created_at)}\t{row.full_name}".rstrip())


@orgs.command("private")
def make_org_private(
    name: Org, no: No = False, folder: Folder = None, database: Database = None
) -> None:
    """Make an organisation's new repositories private, unless somebody says otherwise."""
    _set_private(name, "org", not no, folder, database)


@orgs.command("role")
def set_org_role(
    org: Org, user: User, role: Role, folder: Folder = None, database: Database = None
) -> None:
    """Put a user into an organisation, or change the role there."""
    from llmos.hub.accounts.people import set_role

    with opened_hub(folder, database) as hub, hub.database.write() as connection:
        row = account_named(connection, org, "org")
        set_role(connection, ACTOR, row, account_named(connection, user, "user"), role)


@orgs.command("remove")
def remove_from_org(org: Org, user: User, folder: Folder = None, database: Database = None) -> None:
    """Take a user out of an organisation."""
    from llmos.hub.accounts.organisations import remove_member

    with opened_hub(folder, database) as hub, hub.database.write() as connection:
        row = account_named(connection, org, "org")
        remove_member(connection, ACTOR, row, account_named(connection, user, "user"))
