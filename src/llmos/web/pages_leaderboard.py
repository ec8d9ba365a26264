"""The leaderboard: task by data set by metric, from signed results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from llmos.hub.api.asking import Ask
from llmos.hub.api.routing import Need, Route
from llmos.hub.runs.board import leaderboard
from llmos.web.rendering import page


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a figure and its interval lie in a table, from 4 to 96."""

    low: float
    value: float
    high: float


def board(ask: Ask) -> Response:
    """All tables, or those that were asked for."""
    wanted = {name: ask.query(name)[:200] for name in ("task", "dataset", "metric")}
    with ask.hub.database.read() as connection:
        whole = leaderboard(ask.hub.boards, connection, ask.caller)
    shown = [
        table
        for table in whole
        if all(not value or table[name] == value for name, value in wanted.items())
    ]
    choices = {name: sorted({str(table[name]) for table in whole}) for name in wanted}
    return page(ask, "leaderboard.html", tables=prepared(shown), wanted=wanted, choices=choices)


def prepared(tables: list[dict[str, Any]]) -> list[tuple[dict[str, Any], list[Any]]]:
    """Tables with their entries, each with its interval where that is known."""
    found = []
    for table in tables:
        known = [
            number
            for entry in table["entries"]
            for number in _figures(entry)
            if number is not None and math.isfinite(number)
        ]
        low, high = (min(known), max(known)) if known else (0.0, 0.0)
        entries = [(entry, _interval(entry, low, high)) for entry in table["entries"]]
        found.append((table, entries))
    return found


def _figures(entry: dict[str, Any]) -> list[float | None]:
    return [entry["score"][name] for name in ("low", "value", "high")]


def _interval(entry: dict[str, Any], low: float, high: float) -> Interval | None:
    places = [
        4 + 92 * (number - low) / ((high - low) or 1.0)
        for number in _figures(entry)
        if number is not None and math.isfinite(number)
    ]
    return Interval(*places) if len(places) == 3 else None


ROUTES = [Route("GET", "/leaderboard", Need.PUBLIC, board, page=True)]
