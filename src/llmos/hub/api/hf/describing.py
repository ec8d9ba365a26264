"""What is told of a repository, in the words of the Hugging Face API."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Connection, Row

from llmos.hub.accounts.rights import Caller, role_in
from llmos.hub.api.asking import iso
from llmos.hub.database.connection import now
from llmos.hub.database.tables import repos
from llmos.hub.repos import trending
from llmos.hub.repos.information import children_count, files_json, main_size

COMMON = (
    *("author", "cardData", "createdAt", "disabled", "downloads", "downloadsAllTime", "gated"),
    *("lastModified", "likes", "private", "resourceGroup", "sha", "siblings", "tags"),
    *("trendingScore", "usedStorage", "sharing", "xetEnabled"),
)
FIELDS = {  # what `expand` may ask for
    "model": (
        *COMMON,
        *("baseModels", "childrenModelCount", "config", "evalResults", "gguf", "inference"),
        *("inferenceProviderMapping", "library_name", "mask_token", "model-index", "pipeline_tag"),
        *("safetensors", "spaces", "transformersInfo", "widgetData"),
    ),
    "dataset": (*COMMON, "citation", "description", "mainSize", "paperswithcode_id"),
    "space": (
        *("author", "cardData", "createdAt", "datasets", "disabled", "lastModified", "likes"),
        *("models", "private", "region", "resourceGroup", "runtime", "sdk", "sha", "siblings"),
        *("subdomain", "tags", "trendingScore", "usedStorage", "sharing", "xetEnabled"),
    ),
    "run": (*COMMON, "description"),
}
LISTED = frozenset(
    {"author", "createdAt", "disabled", "downloads", "gated", "lastModified", "library_name"}
    | {"likes", "pipeline_tag", "private", "sdk", "sha", "sharing", "tags", "trendingScore"}
)
FULL = LISTED | {"siblings"}
TOLD = FULL | frozenset(
    {"cardData", "config", "mask_token", "model-index", "safetensors", "transformersInfo"}
    | {
        "description",
        "usedStorage",
        "spaces",
        "widgetData",
        "inference",
        "sdk",
        "paperswithcode_id",
    }
    | {"citation", "models", "datasets"}
)
OPTIONAL = frozenset(  # left out where they are not known, unless asked for by name
    {"config", "safetensors", "transformersInfo", "mask_token", "model-index", "pipeline_tag"}
    | {"library_name", "widgetData", "inference", "cardData", "description", "sdk"}
    | {"paperswithcode_id", "citation", "models", "datasets"}
)
FROM_CARD = {
    **{"citation": "citation", "datasets": "datasets", "model-index": "model-index"},
    **{"models": "models", "paperswithcode_id": "paperswithcode_id", "widgetData": "widget"},
}
FROM_FACTS = frozenset(
    {"config", "description", "library_name", "mask_token", "pipeline_tag", "safetensors", "sdk"}
    | {"transformersInfo"}
)
NEVER: dict[str, Any] = {  # asked for by clients, but there is no such thing here
    **{"evalResults": [], "gguf": None, "inference": None, "inferenceProviderMapping": []},
    **{"region": None, "resourceGroup": None, "runtime": None, "spaces": [], "subdomain": None},
}
Maker = Callable[[Connection, Caller, Row[Any]], Any]


def _bases(connection: Connection, caller: Caller, repo: Row[Any]) -> dict[str, Any] | None:
    found = [tag.split(":", 2)[1:] for tag in repo.tags if tag.startswith("base_model:")]
    related = [pair for pair in found if len(pair) == 2]
    if not related:
        return None
    return {"relation": related[0][0], "models": [{"id": name} for _, name in related]}


MADE: dict[str, Maker] = {
    "author": lambda connection, caller, repo: repo.full_name.rpartition("/")[0] or None,
    "private": lambda connection, caller, repo: repo.private,
    "gated": lambda connection, caller, repo: repo.gated or False,
    "disabled": lambda connection, caller, repo: repo.disabled,
    "sharing": lambda connection, caller, repo: repo.sharing,
    "createdAt": lambda connection, caller, repo: iso(repo.created_at),
    "lastModified": lambda connection, caller, repo: iso(repo.updated_at),
    "downloads": lambda connection, caller, repo: repo.downloads,
    "downloadsAllTime": lambda connection, caller, repo: repo.downloads,
    "likes": lambda connection, caller, repo: repo.likes,
    "tags": lambda connection, caller, repo: repo.tags,
    "trendingScore": lambda connection, caller, repo: trending.score(repo.trending, now()),
    "usedStorage": lambda connection, caller, repo: repo.used_bytes,
    "sha": lambda connection, caller, repo: repo.head,
    "cardData": lambda connection, caller, repo: repo.card or None,
    "baseModels": _bases,
    "childrenModelCount": children_count,
    "mainSize": lambda connection, caller, repo: main_size(connection, repo),
    "xetEnabled": lambda connection, caller, repo: True,  # clients before 1.0 ask
}


def columns_for(fields: Collection[str]) -> list[Any]:
    """The columns of `repos` that `describe` needs for these fields: a card may be large."""
    large = {"cardData", *FROM_CARD} & set(fields)
    return [
        column for column in repos.c if column.name != "id" and (large or column.name != "card")
    ]


def describe(
    connection: Connection,
    caller: Caller,
    repo: Row[Any],
    fields: Collection[str],
    *,
    root: str | None = None,
    sizes: bool = False,
    named: bool = False,
) -> dict[str, Any]:
    """A repository as JSON: its id and `fields`; siblings (files) are those of the tree `root`,
    with sizes and hashes if asked for. `named`: the fields were asked for by name, so all come."""
    told: dict[str, Any] = {"_id": f"{repo.id:024x}", "id": repo.full_name}
    if repo.kind == "model":
        told["modelId"] = repo.full_name
    for name in fields:
        if name == "siblings" or name not in FIELDS[repo.kind]:
            continue
        value = _value(connection, caller, repo, name)
        if named or value is not None or name not in OPTIONAL:
            told[name] = value
    if "siblings" in fields:
        hidden = repo.sharing != "open" and role_in(caller, repo.owner_id) is None
        told["siblings"] = [] if root is None or hidden else files_json(connection, root, sizes)
    return told


def _value(connection: Connection, caller: Caller, repo: Row[Any], name: str) -> Any:
    if name in MADE:
        return MADE[name](connection, caller, repo)
    if name in FROM_FACTS:
        return repo.facts.get(name)
    if name in FROM_CARD:
        return repo.card.get(FROM_CARD[name])
    return NEVER[name]
