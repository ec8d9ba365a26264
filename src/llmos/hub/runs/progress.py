"""What a run tells while it trains: figures by round. Numbers only, never text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update

from llmos.hub.accounts import audit
from llmos.hub.accounts.rights import Caller
from llmos.hub.database.connection import now
from llmos.hub.database.tables import run_progress, runs
from llmos.hub.errors import HubError, conflict, unprocessable
from llmos.hub.hub import Hub
from llmos.hub.runs.records import needed_run

FIGURE = re.compile(r"[a-z][a-z0-9_]{0,39}")
MOST_FIGURES = 16  # in one point
MOST_POINTS = 20_000  # of one run
LARGEST_ROUND = 10_000_000
Points = Mapping[int, Mapping[str, float | int]]


def checked_figures(values: Mapping[str, Any]) -> dict[str, float | int]:
    """Finite numbers under plain names. Raises `HubError` 422 for anything else."""
    if not 0 < len(values) <= MOST_FIGURES:
        raise unprocessable(f"values: from 1 to {MOST_FIGURES} figures")
    for name, value in values.items():
        if not FIGURE.fullmatch(name):
            raise unprocessable(f"values: {name[:40]!r} is no name of a figure: use a-z, 0-9, _")
        if type(value) not in (int, float) or not math.isfinite(value) or abs(value) >= 2**63:
            raise unprocessable(f"values.{name}: a finite number is needed, no text")
    return dict(values)


def add_progress(hub: Hub, caller: Caller, repo: Row[Any], points: Points) -> None:
    """Take in figures by round; those of a round that is there are replaced.

    A planned run is running from then on. Raises `HubError` 422, 409 for a run that is done, 413
    when it has too many points.
    """
    checked = {number: checked_figures(values) for number, values in points.items()}
    if not checked:
        raise unprocessable("points: give at least one")
    for number in checked:
        if not 0 <= number <= LARGEST_ROUND:
            raise unprocessable(f"round: a number from 0 to {LARGEST_ROUND}")
    with hub.database.write() as connection:
        run = needed_run(connection, repo)
        if run.state == "done":
            raise conflict(f"{repo.full_name} is done")
        began = run.state in ("planned", "stopped")
        write_points(connection, repo.id, checked)
        values = {"round": max(run.round, *checked), "state": "running", "updated_at": now()}
        connection.execute(update(runs).where(runs.c.repo_id == repo.id).values(**values))
        if began:
            audit.record(connection, caller.name, "run.state", repo.full_name, state="running")


def write_points(connection: Connection, repo_id: int, points: Points) -> None:
    """Write points within a transaction. Raises `HubError` 413 above `MOST_POINTS`."""
    numbers = sorted(points)
    for start in range(0, len(numbers), 500):
        some = run_progress.c.round.in_(numbers[start : start + 500])
        connection.execute(delete(run_progress).where(run_progress.c.repo_id == repo_id, some))
    count = select(func.count()).where(run_progress.c.repo_id == repo_id)
    if connection.execute(count).scalar_one() + len(points) > MOST_POINTS:
        raise HubError(413, f"A run has at most {MOST_POINTS:,} points: send every tenth round")
    at = now()
    rows = [
        {"repo_id": repo_id, "round": number, "at": at, "values": dict(points[number])}
        for number in numbers
    ]
    if rows:
        connection.execute(run_progress.insert(), rows)


def progress_of(
    connection: Connection, repo_id: int, *, after: int = -1, limit: int = MOST_POINTS
) -> Sequence[Row[int, int, dict[str, float | int]]]:
    """The points of the rounds after `after`, in order: round, at, values."""
    return connection.execute(
        select(run_progress.c.round, run_progress.c.at, run_progress.c["values"])
        .where(run_progress.c.repo_id == repo_id, run_progress.c.round > after)
        .order_by(run_progress.c.round)
        .limit(limit)
    ).all()
