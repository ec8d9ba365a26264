"""Runs planned: a repository of kind run with the recipe that its members are to sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from sqlalchemy import Row, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller, account_row
from llmos.hub.database.connection import now
from llmos.hub.database.tables import run_members, runs
from llmos.hub.errors import bad_request, conflict, unprocessable
from llmos.hub.hub import Hub
from llmos.hub.repos.making import make_repo
from llmos.hub.runs.records import (
    RECIPE,
    STATES,
    has_begun,
    index_recipe,
    needed_run,
    read_recipe,
)
from llmos.recipe import Recipe


def plan_run(
    hub: Hub,
    caller: Caller,
    full_name: str,
    recipe_text: str,
    *,
    private: bool | None = None,
    accounts: Mapping[str, str] | None = None,
    datasets: Sequence[str] = (),
    model: str = "",
) -> Row[Any]:
    """A new run and its repository, with recipe.toml and a card.

    `accounts`: whose members are which, member's name to account's name; a member without one is
    the account of its own name. `private` None: as the owner has set it for new repositories.
    `datasets` and `model` are names of repositories, here or not.
    Raises `HubError` 422 for a recipe that does not hold, 409, 403 as `make_repo` does.
    """
    recipe = read_recipe(recipe_text)
    owners = _owners(hub, recipe, accounts or {})
    files = {
        "README.md": _card(recipe, full_name, datasets).encode(),
        RECIPE: recipe_text.encode(),
    }
    repo = make_repo(hub, caller, "run", full_name, private=private, files=files)
    with hub.database.write() as connection:
        index_recipe(connection, repo, recipe_text)
        connection.execute(update(runs).where(runs.c.repo_id == repo.id).values(model=model[:200]))
        for member, account_id in owners.items():
            same = (run_members.c.repo_id == repo.id) & (run_members.c.name == member)
            connection.execute(update(run_members).where(same).values(account_id=account_id))
        audit.record(connection, caller.name, "run.plan", repo.full_name, recipe=recipe.sha256())
    return repo


def _owners(hub: Hub, recipe: Recipe, accounts: Mapping[str, str]) -> dict[str, int]:
    """Account ids by member's name. Raises `HubError` 422 for members and accounts unknown."""
    found = {}
    with hub.database.read() as connection:
        for member, name in accounts.items():
            if member not in recipe.agreement.members:
                raise unprocessable(f"{member[:40]} is no member of the recipe (agreement.members)")
            account = account_row(connection, name)
            if account is None or account.disabled_at is not None:
                raise unprocessable(f"{name[:96]} has no account here: invite them first")
            found[member] = account.id
    return found


def _card(recipe: Recipe, full_name: str, datasets: Sequence[str]) -> str:
    head: dict[str, Any] = {"tags": ["llmos", "joint-run"]}
    if datasets:
        head["datasets"] = list(datasets)
    if recipe.languages:
        head["language"] = list(recipe.languages)
    if recipe.model.base:
        head["base_model"] = recipe.model.base
    front = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    words = " ".join(recipe.description.split()) or "A joint run with LLMOS."
    return f"---\n{front}---\n\n# {full_name}\n\n{words}\n"


def set_state(hub: Hub, caller: Caller, repo: Row[Any], state: str) -> None:
    """Say where a run stands. Raises `HubError` 400 for no state, 409 for a run that is done."""
    if state not in STATES:
        raise bad_request(f"state {state[:20]!r}: choose one of {', '.join(STATES)}")
    with hub.database.write() as connection:
        run = needed_run(connection, repo)
        if run.state == state:
            return
        if run.state == "done":
            raise conflict(f"{repo.full_name} is done")
        if state == "planned" and has_begun(connection, run):
            raise conflict(f"{repo.full_name} has begun: it cannot be planned again")
        values = {"state": state, "updated_at": now()}
        connection.execute(update(runs).where(runs.c.repo_id == repo.id).values(**values))
        audit.record(connection, caller.name, "run.state", repo.full_name, state=state)
