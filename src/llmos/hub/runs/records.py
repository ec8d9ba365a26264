"""What the hub knows of a run beside its files: recipe, members, where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from llmos.errors import RecipeError
from llmos.hub.accounts.rights import account_row
from llmos.hub.database.connection import now
from llmos.hub.database.tables import run_members, run_progress, runs
from llmos.hub.errors import HubError, conflict, unprocessable
from llmos.recipe import Recipe, parse_recipe

RECIPE = "recipe.toml"
LEDGER = "ledger.jsonl"
STATES = ("planned", "running", "done", "stopped")


def read_recipe(text: str) -> Recipe:
    """The recipe in a TOML text. Raises `HubError` 422 with what is wrong in it."""
    try:
        return parse_recipe(text)
    except RecipeError as error:
        raise unprocessable(str(error)) from None


def run_row(connection: Connection, repo_id: int) -> Row[Any] | None:
    """What is said of a run beside its files; None before it has a recipe."""
    return connection.execute(select(runs).where(runs.c.repo_id == repo_id)).first()


def members_of(connection: Connection, repo_id: int) -> Sequence[Row[Any]]:
    """The members of a run, by name."""
    own = select(run_members).where(run_members.c.repo_id == repo_id)
    return connection.execute(own.order_by(run_members.c.name)).all()


def index_recipe(connection: Connection, repo: Row[Any], text: str) -> None:
    """Take in the recipe that a run's repository holds now.

    Raises `HubError` 422 for none that holds, 409 when members have signed another, or the ledger
    is of another.
    """
    recipe = read_recipe(text)
    run, digest = run_row(connection, repo.id), recipe.sha256()
    if run is not None and run.recipe_sha256 == digest:
        return
    members = members_of(connection, repo.id)
    if run is not None and (run.ledger_head or any(row.signed_recipe for row in members)):
        raise conflict(
            f"{repo.full_name} keeps its recipe {run.recipe_sha256[:16]}: plan a new run"
        )
    joint = bool(recipe.agreement.members)
    values = {
        "recipe": text,
        "recipe_sha256": digest,
        "rounds": recipe.rounds.count if joint else recipe.total_steps,
        "unit": "round" if joint else "step",
        "updated_at": now(),
    }
    if run is None:
        connection.execute(runs.insert(), {"repo_id": repo.id, **values})
    else:
        connection.execute(update(runs).where(runs.c.repo_id == repo.id).values(**values))
        connection.execute(delete(run_members).where(run_members.c.repo_id == repo.id))
    for name in recipe.agreement.members:
        account = account_row(connection, name)
        own = {"repo_id": repo.id, "name": name, "account_id": account.id if account else None}
        connection.execute(run_members.insert(), own)


def needed_run(connection: Connection, repo: Row[Any]) -> Row[Any]:
    """The run of a repository. Raises `HubError` 409 before it has a recipe."""
    run = run_row(connection, repo.id)
    if run is None:
        raise conflict(f"{repo.full_name} has no recipe yet: commit {RECIPE} to it")
    return run


def has_begun(connection: Connection, run: Row[Any]) -> bool:
    """Whether there is a ledger or progress."""
    some = select(run_progress.c.id).where(run_progress.c.repo_id == run.repo_id).limit(1)
    return bool(run.ledger_head) or connection.execute(some).first() is not None


def rewritten(repo: Row[Any]) -> HubError:
    """409: a ledger that is not the one before with more entries."""
    return conflict(
        f"The ledger of {repo.full_name} does not begin with the one that is here: it was "
        "rewritten or cut; compare it with members' copies"
    )
