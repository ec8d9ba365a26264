"""The whole surface: all routes of the hub, one list per file."""

from __future__ import annotations

from llmos.hub.api.hf import files
from llmos.hub.api.routing import Route

ROUTES: list[Route] = [*files.ROUTES]
