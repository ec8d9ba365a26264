"""All routes of the pages, and the page that tells an error; `WHOLE` is pages and API."""

from __future__ import annotations

from llmos.hub.api import surface
from llmos.hub.api.routing import Route
from llmos.web import (
    pages_account,
    pages_admin,
    pages_collections,
    pages_device,
    pages_discussions,
    pages_files,
    pages_history,
    pages_home,
    pages_leaderboard,
    pages_notifications,
    pages_organisation,
    pages_repo,
    pages_search,
    pages_settings,
    pages_signing_in,
)
from llmos.web.errors import error_page

__all__ = ["ROUTES", "WHOLE", "error_page"]
ROUTES: list[Route] = [
    *pages_home.ROUTES,
    *pages_search.ROUTES,
    *pages_leaderboard.ROUTES,
    *pages_collections.ROUTES,
    *pages_notifications.ROUTES,
    *pages_signing_in.ROUTES,
    *pages_device.ROUTES,
    *pages_account.ROUTES,
    *pages_organisation.ROUTES,
    *pages_admin.ROUTES,
    *pages_repo.ROUTES,
    *pages_files.ROUTES,
    *pages_history.ROUTES,
    *pages_discussions.ROUTES,
    *pages_settings.ROUTES,
]
# The pages come first: /NAME is an account before it is a model's short name.
WHOLE: list[Route] = [*ROUTES, *surface.ROUTES]
