"""A joint run's page: recipe, members, progress, ledger, and what its verification proved."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from markupsafe import Markup
from sqlalchemy import Connection, Row, select
from starlette.responses import Response

from llmos.curves import Series, svg_chart
from llmos.errors import UsageError
from llmos.hub.api.asking import Ask
from llmos.hub.database.tables import accounts, blobs, keys
from llmos.hub.hub import Hub
from llmos.hub.runs.progress import progress_of
from llmos.hub.runs.records import members_of, run_row
from llmos.storage import sha256_hex
from llmos.web import repo_views
from llmos.web.i18n import Texts
from llmos.web.rendering import page, viewer_of

FIGURES = ("bits_per_byte", "loss")
MOST_DRAWN = 400  # points of a curve
REFRESH = 20  # seconds, while a run goes on
TAIL = 64 << 10  # bytes of a ledger that are read for its last entries
LAST = 12  # entries that are shown


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verification in its parts; each line is English, as the checks wrote it."""

    checked: list[str]
    problems: list[str]
    unproved: list[str]


def run_page(ask: Ask) -> Response:
    """How far a run is, who takes part, and what can be checked of it."""
    with ask.hub.database.read() as connection:
        shown = repo_views.shell(ask, connection, "run")
        run = run_row(connection, ask.repo.id)
        members = members_of(connection, ask.repo.id)
        owners = _owners(connection, members)
        points = progress_of(connection, ask.repo.id)
        root = repo_views.head_tree(connection, ask.repo)
        lineage = repo_views.related(connection, ask.caller, ask.repo)
        ledger = _ledger(ask.hub, connection, run)
    viewer = viewer_of(ask.hub, ask.request, ask.caller)
    tokens = sum(member.tokens for member in members)
    return page(
        ask,
        "run.html",
        **shown,
        **repo_views.card_of(ask, root),
        run=run,
        members=members,
        owners=owners,
        tokens=tokens,
        signed=sum(member.signed_recipe for member in members),
        charts=_charts(viewer.t, ask.repo.full_name, points, run.unit if run else "round"),
        last=points[-1] if points else None,
        last_values=points[-1]._mapping["values"] if points else {},
        recipe=_sections(run.recipe) if run else {},
        verdict=_verdict(run.verdict) if run else None,
        ledger=ledger,
        lineage=lineage,
        refresh=REFRESH if run is not None and run.state == "running" else 0,
        access="",
    )


def _owners(connection: Connection, members: Sequence[Row[Any]]) -> dict[str, Row[Any]]:
    """Accounts by member: whose key it signed with; whose it is to be where it has not signed. A
    member's name alone says nothing: anybody may write any name into a recipe."""
    signers = [member.public_key for member in members if member.public_key]
    registered = select(keys.c.public_key, keys.c.account_id).where(keys.c.public_key.in_(signers))
    by_key = {row.public_key: row.account_id for row in connection.execute(registered)}
    ids = {
        member.name: by_key.get(member.public_key) if member.public_key else member.account_id
        for member in members
    }
    rows = connection.execute(select(accounts).where(accounts.c.id.in_(set(ids.values()))))
    there = {row.id: row for row in rows if row.disabled_at is None}
    return {name: there[one] for name, one in ids.items() if one in there}


def _charts(t: Texts, name: str, points: Sequence[Any], unit: str) -> list[Markup]:
    """A curve for each figure that the run reports; SVG, drawn here."""
    drawn = []
    for figure in FIGURES:
        line = [
            (float(point.round), float(value))
            for point in points
            if isinstance(value := point._mapping["values"].get(figure), int | float)
        ]
        step = max(1, len(line) // MOST_DRAWN)
        kept = line[::step] + ([line[-1]] if line and (len(line) - 1) % step else [])
        title, below = str(t(f"figure.{figure}")), str(t(f"run.axis.{unit}"))
        try:
            drawn.append(svg_chart([Series(name, kept)], title, below, "", 460, 300))
        except UsageError:  # nothing to draw, or nothing that can be drawn
            continue
    return [Markup(text) for text in drawn]


def _sections(text: str) -> dict[str, dict[str, str]]:
    """What a recipe says, section by section, as it was written; "" is the top of the file."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}
    found: dict[str, dict[str, str]] = {}
    for name, value in given.items():
        if isinstance(value, dict):
            found[name] = {key: _value(inner) for key, inner in value.items()}
        else:
            found.setdefault("", {})[name] = _value(value)
    return found


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def _verdict(text: str) -> Verdict | None:
    if not text:
        return None
    lines = text.splitlines()
    problems = [line for line in lines if line.startswith("problem: ")]
    unproved = [line for line in lines if line.startswith("not proved: ")]
    return Verdict(
        [line for line in lines if line not in problems and line not in unproved],
        [line.removeprefix("problem: ") for line in problems],
        [line.removeprefix("not proved: ") for line in unproved],
    )


def _ledger(hub: Hub, connection: Connection, run: Row[Any] | None) -> list[dict[str, str]]:
    """The last entries of the ledger, newest first."""
    if run is None or not run.ledger_blob:
        return []
    size = connection.execute(
        select(blobs.c.size).where(blobs.c.sha256 == run.ledger_blob)
    ).scalar()
    start = max(0, (size or 0) - TAIL)
    lines = b"".join(hub.blobs.read(run.ledger_blob, start)).split(b"\n")
    entries: list[dict[str, str]] = []
    for line in reversed(lines[1:] if start else lines):
        try:
            entry = orjson.loads(line) if line else None
        except orjson.JSONDecodeError:
            continue
        if isinstance(entry, dict) and len(entries) < LAST:
            named = {
                key: str(entry.get(key, ""))[:80] for key in ("index", "kind", "time", "signer")
            }
            entries.append({**named, "hash": sha256_hex(line)})
    return entries
