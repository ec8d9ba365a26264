"""`llmos plan`: a joint run announced on a hub, for its members to read and sign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmos.errors import UsageError
from llmos.recipe import load_recipe


def plan(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="What the members agree on.")],
    to: Annotated[
        str,
        typer.Argument(metavar="HUB/OWNER/NAME", help="Such as https://hub.example.org/us/tales."),
    ],
    member: Annotated[
        list[str] | None,
        typer.Option(
            "--member",
            metavar="NAME[=ACCOUNT]",
            help="A member, and whose it is where the account has another name; repeat it.",
        ),
    ] = None,
    private: Annotated[
        bool | None,
        typer.Option("--private/--public", help="Who may see it; as the owner has it."),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", metavar="NAME", help="A data set that is used; repeat it."),
    ] = None,
) -> None:
    """Plan a joint run on a hub: its members then sign RECIPE with llmos member agree.

    Train with the same recipe and members, and --publish HUB/OWNER/NAME. The members of a private
    run must be in its owner's organisation, else they cannot see it.
    """
    from llmos.federation.agreeing import planned_run
    from llmos.federation.hub_address import HubAddress, HubSession, token_for
    from llmos.federation.publish import Sharing, plan_on_hub, recipe_of_start

    address = HubAddress.parse(to)
    accounts = _accounts(member or [])
    agreed = recipe_of_start(load_recipe(recipe), list(accounts))
    if not agreed.agreement.members:
        raise UsageError(f"{recipe} names no members: give each with --member NAME=ACCOUNT")
    whose = {name: account for name, account in accounts.items() if account}
    with HubSession(address, token_for(address)) as session:
        sharing = Sharing(private=private, datasets=tuple(dataset or ()))
        is_new = plan_on_hub(session, agreed, sharing, whose)
        planned = planned_run(session)
    where = f"{address.endpoint}/runs/{address.name}"
    typer.echo(f"{'planned' if is_new else 'planned already'}: {where}")
    typer.echo(f"the recipe's sha256: {agreed.sha256()}")
    for one in planned.members:
        account = one["account"] or f"nobody's: say --member {one['name']}=ACCOUNT"
        typer.echo(f"member {one['name']} ({account})" + (": has agreed" if one["signed"] else ""))
    typer.echo(f"each member reads and signs it: llmos member agree {address.url}")


def _accounts(arguments: list[str]) -> dict[str, str]:
    """Accounts by member's name, "" where none was said. Raises `UsageError`."""
    found: dict[str, str] = {}
    for argument in arguments:
        name, equals, account = argument.partition("=")
        if not name or bool(equals) != bool(account):
            raise UsageError(f"--member {argument!r} is not NAME or NAME=ACCOUNT")
        if name in found:
            raise UsageError(f"member {name!r} is named twice: give each its own name")
        found[name] = account
    return found
