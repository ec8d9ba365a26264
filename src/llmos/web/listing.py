"""Repositories and members as lists show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from llmos.hub.accounts.rights import Caller, visible
from llmos.hub.database.tables import accounts, repos, run_members, runs
from llmos.hub.repos.indexing import many
from llmos.hub.repos.listing import Wanted, page, read_cursor, rows_of

PAGE = 24
SORTS = {
    "trending": "trendingScore",
    "updated": "lastModified",
    "created": "createdAt",
    "downloads": "downloads",
    "likes": "likes",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to; "" does not narrow."""

    kind: str = "model"
    words: str = ""
    language: str = ""
    license: str = ""
    task: str = ""
    sharing: str = ""
    author: str = ""
    sort: str = "updated"

    @property
    def wanted(self) -> Wanted:
        """The same, for the listing of repositories."""
        task = f"task_categories:{self.task}" if self.kind == "dataset" else self.task
        tags = [self.language, self.task and task, self.license and f"license:{self.license}"]
        return Wanted(
            self.kind,
            author=self.author or None,
            words=self.words.split()[:8],
            tags=[tag.lower() for tag in tags if tag],
            sharing=self.sharing,
            sort=SORTS.get(self.sort, "lastModified"),
        )


@dataclass(frozen=True, slots=True)
class Item:
    """A repository in a list."""

    kind: str
    full_name: str
    private: bool
    gated: str | None
    sharing: str
    license: str
    updated_at: int
    downloads: int
    likes: int
    task: str
    languages: list[str]
    parameters: int | None


@dataclass(frozen=True, slots=True)
class RunItem:
    """A joint run in a list; `tokens` is the sum over its members."""

    full_name: str
    private: bool
    state: str
    round: int
    rounds: int
    unit: str  # of the two: round | step
    members: int
    tokens: int
    updated_at: int


def item_of(row: Row[Any]) -> Item:
    """What a list shows of a row of `repos`."""
    task = next(iter(many(row.facts.get("pipeline_tag") or row.card.get("task_categories"))), "")
    return Item(
        **{name: row._mapping[name] for name in Item.__slots__[:9]},
        task=task,
        languages=many(row.card.get("language")),
        parameters=row.parameters,
    )


def find(
    connection: Connection, caller: Caller, filters: Filters, count: int = PAGE, after: str = ""
) -> tuple[list[Row[Any]], str]:
    """The repositories that match, and what `after` is for the next page ("": there is none).
    Raises `HubError` 400 for an `after` that was never there."""
    ids, cursor = page(connection, caller, filters.wanted, count, read_cursor(after))
    return rows_of(connection, ids, list(repos.c)), str(cursor or "")


def items(
    connection: Connection, caller: Caller, filters: Filters, count: int = PAGE
) -> list[Item]:
    """The first repositories that match, as lists show them."""
    return [item_of(row) for row in find(connection, caller, filters, count)[0]]


def run_items(connection: Connection, rows: Iterable[Row[Any]]) -> list[RunItem]:
    """Rows of `repos` of the kind run, with how far they are."""
    rows = list(rows)
    ids = [row.id for row in rows]
    known = {
        row.repo_id: row for row in connection.execute(select(runs).where(runs.c.repo_id.in_(ids)))
    }
    counts = {
        row.repo_id: row
        for row in connection.execute(
            select(
                run_members.c.repo_id,
                func.count().label("members"),
                func.coalesce(func.sum(run_members.c.tokens), 0).label("tokens"),
            )
            .where(run_members.c.repo_id.in_(ids))
            .group_by(run_members.c.repo_id)
        )
    }
    found = []
    for row in rows:
        run, count = known.get(row.id), counts.get(row.id)
        found.append(
            RunItem(
                row.full_name,
                row.private,
                run.state if run else "planned",
                run.round if run else 0,
                run.rounds if run else 0,
                run.unit if run else "round",
                count.members if count else 0,
                int(count.tokens) if count else 0,
                max(row.updated_at, run.updated_at if run else 0),
            )
        )
    return found


def running(connection: Connection, caller: Caller, count: int) -> list[RunItem]:
    """Joint runs that go on now, then those that came last."""
    rows = connection.execute(
        select(repos)
        .outerjoin(runs, runs.c.repo_id == repos.c.id)
        .where(repos.c.kind == "run", visible(caller, repos))
        .order_by((runs.c.state == "running").desc().nulls_last(), repos.c.updated_at.desc())
        .limit(count)
    ).all()
    return run_items(connection, rows)


def totals(connection: Connection, caller: Caller) -> dict[str, int]:
    """How many repositories of each kind there are for the caller, members and their countries."""
    rows = connection.execute(
        select(repos.c.kind, func.count()).where(visible(caller, repos)).group_by(repos.c.kind)
    )
    found = {kind: count for kind, count in rows}
    orgs = (accounts.c.kind == "org") & accounts.c.disabled_at.is_(None)
    found["members"] = connection.execute(
        select(func.count()).select_from(accounts).where(orgs)
    ).scalar_one()
    return found


def countries(connection: Connection) -> list[tuple[str, int]]:
    """Countries that organisations are from, with how many, most first."""
    number = func.count().label("number")
    rows = connection.execute(
        select(accounts.c.country, number)
        .where(accounts.c.kind == "org", accounts.c.country != "", accounts.c.disabled_at.is_(None))
        .group_by(accounts.c.country)
        .order_by(number.desc(), accounts.c.country)
    )
    return [(country, count) for country, count in rows]
