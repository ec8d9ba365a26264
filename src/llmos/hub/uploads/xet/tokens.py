"""Access to the chunk store: for one repository, one action, a few hours.

Clients remember by the store's address which chunks it holds. So the address names the repository
(and when it was made, as numbers of deleted ones come again) and the hub's epoch, which changes
whenever chunks may have gone.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Row, select

from llmos.hub.database.tables import repos
from llmos.hub.errors import HubError
from llmos.hub.hub import Hub

STORE = re.compile(r"(\d{1,18})-(\d{1,18})-(\d{1,18})")


def store_name(hub: Hub, repo: Row[Any]) -> str:
    """The part of the address that tells a repository's chunk store."""
    return f"{repo.id}-{repo.created_at}-{hub.epoch}"


def make_token(hub: Hub, repo: Row[Any], action: str, *, seconds: int) -> tuple[str, str]:
    """The store's name and a token for `action` (read or write)."""
    store = store_name(hub, repo)
    return store, hub.sign("xet", action, store, seconds=seconds)


def check_token(hub: Hub, store: str, token: str, action: str) -> Row[Any]:
    """The repository that a token opens. Raises `HubError` 401 (the client asks for a new one)."""
    try:
        hub.check_signature(token, "xet", action, store)
    except HubError as error:
        raise HubError(401, "The token has expired or is for something else") from error
    named = STORE.fullmatch(store)
    assert named is not None  # we signed it
    with hub.database.read() as connection:
        repo = connection.execute(
            select(repos).where(
                repos.c.id == int(named[1]),
                repos.c.created_at == int(named[2]),
                repos.c.disabled.is_(False),
            )
        ).first()
    if repo is None:
        raise HubError(404, "That repository is gone", "RepoNotFound")
    return repo
