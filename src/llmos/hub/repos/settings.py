"""Who may see a repository, and how: visibility, access requests, sharing level, discussions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller
from llmos.hub.database.tables import repos
from llmos.hub.errors import bad_request
from llmos.hub.hub import Hub
from llmos.hub.repos.making import SHARING
from llmos.hub.together.webhooks import tell_repo

GATED = ("auto", "manual")


@dataclass(frozen=True, slots=True)
class RepoSettings:
    """What is to change; None: stays as it is. `gated` "" opens the repository."""

    private: bool | None = None
    gated: str | None = None
    sharing: str | None = None
    discussions_off: bool | None = None


def change_settings(
    hub: Hub, caller: Caller, repo: Row[Any], settings: RepoSettings
) -> dict[str, Any]:
    """Change settings of a repository, and return those changed. Raises `HubError` 400."""
    if settings.gated not in (None, "", *GATED):
        raise bad_request(f"gated {settings.gated}: choose false, {' or '.join(GATED)}")
    if settings.sharing not in (None, *SHARING):
        raise bad_request(f"sharing {settings.sharing}: choose one of {', '.join(SHARING)}")
    values: dict[str, Any] = {
        name: value
        for name in ("private", "gated", "sharing", "discussions_off")
        if (value := getattr(settings, name)) is not None
    }
    if not values:
        raise bad_request("Say what to change: visibility, gated, sharing, discussionsDisabled")
    if "gated" in values:
        values["gated"] = values["gated"] or None
    with hub.database.write() as connection:
        connection.execute(update(repos).where(repos.c.id == repo.id).values(**values))
        target = f"{repo.kind}:{repo.full_name}"
        audit.record(connection, caller.name, "repo.settings", target, **values)
        changed = connection.execute(repos.select().where(repos.c.id == repo.id)).one()
        tell_repo(connection, changed, "update", "repo.config")
    return values
