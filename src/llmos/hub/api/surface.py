"""The whole surface: all routes of the hub, one list per file."""

from __future__ import annotations

from llmos.hub.api import accounts, health, lineage, members, openapi, organisations, results, runs
from llmos.hub.api.hf import (
    access,
    account,
    collections,
    commits,
    discussions,
    files,
    information,
    large_files,
    lfs,
    likes,
    listing,
    notifications,
    people,
    references,
    repositories,
    tags,
    tree,
    webhooks,
    xet,
    yaml_check,
)
from llmos.hub.api.routing import Route

ROUTES: list[Route] = [
    *webhooks.ROUTES,
    *notifications.ROUTES,
    *collections.ROUTES,
    *access.ROUTES,
    *account.ROUTES,
    *discussions.ROUTES,
    *files.ROUTES,
    *commits.ROUTES,
    *tree.ROUTES,
    *references.ROUTES,
    *large_files.ROUTES,
    *health.ROUTES,
    *information.ROUTES,
    *lfs.ROUTES,
    *likes.ROUTES,
    *listing.ROUTES,
    *people.ROUTES,
    *repositories.ROUTES,
    *tags.ROUTES,
    *xet.ROUTES,
    *yaml_check.ROUTES,
    *runs.ROUTES,
    *results.ROUTES,
    *members.ROUTES,
    *lineage.ROUTES,
    *accounts.ROUTES,
    *openapi.ROUTES,
    *organisations.ROUTES,
]
