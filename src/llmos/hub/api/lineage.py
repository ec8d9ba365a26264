"""Our own API: where a repository comes from, and what the licences on that way ask for."""

from __future__ import annotations

from dataclasses import asdict

from starlette.responses import Response

from llmos.hub.accounts.rights import Right
from llmos.hub.api.asking import Ask, answer
from llmos.hub.api.routing import Route
from llmos.hub.runs.licences import licence_report
from llmos.hub.runs.lineage import DEPTH, lineage

DEEPEST = 10


def show_lineage(ask: Ask) -> Response:
    """Data sets, run, model, fine-tunes: what this was made from and what was made from it.
    `depth`: steps in each direction."""
    depth = max(1, ask.query_number("depth", DEPTH, DEEPEST))
    with ask.hub.database.read() as connection:
        found = lineage(connection, ask.caller, ask.repo, depth)
    return answer(asdict(found))


def show_licences(ask: Ask) -> Response:
    """The model's licence against those of its data sets, bases and members' text."""
    with ask.hub.database.read() as connection:
        report = licence_report(connection, ask.repo, ask.caller)
    return answer({**asdict(report), "conflicts": report.conflicts, "verdict": report.verdict})


ROUTES = [
    Route("GET", "/api/{kind}/{repo}/lineage", Right.READ, show_lineage, documented=True),
    Route("GET", "/api/models/{repo}/licences", Right.READ, show_licences, documented=True),
]
