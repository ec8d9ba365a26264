"""`llmos hub token` and `llmos hub invite`: secrets that are shown once."""

from __future__ import annotations

from typing import Annotated

import typer

from llmos.cli.hub_opening import ACTOR, Database, Folder, User, account_named, day, opened_hub

tokens = typer.Typer(help="Tokens: add, list, revoke.", no_args_is_help=True)


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

    with opened_hub(folder, database) as hub, hub.database.write() as connection:
        row = account_named(connection, user, "user")
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

    with opened_hub(folder, database) as hub, hub.database.read() as connection:
        for row in tokens_of(connection, account_named(connection, user, "user").id):
            days = (day(row.created_at), day(row.expires_at), day(row.used_at))
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

    with opened_hub(folder, database) as hub, hub.database.write() as connection:
        revoke_token(connection, ACTOR, account_named(connection, user, "user"), number)


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

    with opened_hub(folder, database) as hub, hub.database.write() as connection:
        row = account_named(connection, org, "org") if org else None
        code = invitations.invite(
            connection, ACTOR, by=None, org=row, role=role, email=email, days=days
        )
    typer.echo(code)
