"""Listings against a list that Python filters and sorts; pages against the whole."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event, insert, select

from llmos.hub.accounts.rights import NOBODY, Caller, Right, account_row, right_on
from llmos.hub.database.tables import repo_tags, repos
from llmos.hub.errors import HubError
from llmos.hub.repos import listing
from llmos.hub.repos.listing import SORTS, Cursor, Wanted, page

NUMBER = 120
TAGS = ("transformers", "license:mit", "zh", "rare")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_world: Callable[..., Any]) -> Iterator[Any]:
    """One hub for all, as nothing here writes."""
    made = new_world(tmp_path_factory.mktemp("hub"))
    for name in ("alice", "bob"):
        made.user(name)
    made.user("root", admin=True)
    made.org("acme", alice="admin")
    yield made
    made.hub.close()


@pytest.fixture(scope="module")
def rows(world: Any) -> list[dict[str, Any]]:
    """Repositories with equal sort values, of all sorts of owners and visibility."""
    draw = random.Random(7)
    with world.hub.database.write() as connection:
        owners = {name: account_row(connection, name).id for name in ("alice", "bob", "acme")}
        made = []
        for number in range(1, NUMBER + 1):
            owner = draw.choice([*owners, ""])
            name = f"{owner}/" * bool(owner) + f"Model_{number % 7}-{number}%"
            made.append(
                {
                    "id": number,
                    "kind": draw.choice(["model", "model", "dataset"]),
                    "owner_id": owners.get(owner),
                    "full_name": name,
                    "name_key": name.lower(),
                    "created_by": owners["alice"],
                    "private": draw.random() < 0.3,
                    "gated": draw.choice([None, None, "auto"]),
                    "disabled": draw.random() < 0.1,
                    "sharing": draw.choice(["open", "open", "metadata"]),
                    "created_at": draw.randrange(5),
                    "updated_at": draw.randrange(5),
                    "downloads": draw.randrange(3),
                    "likes": draw.randrange(3),
                    "trending": draw.randrange(3),
                    "parameters": draw.choice([None, 5, 7_000_000_000]),
                    "tags": [
                        tag for tag in TAGS if draw.random() < (0.1 if tag == "rare" else 0.6)
                    ],
                }
            )
        connection.execute(insert(repos), made)
        tagged = [{"repo_id": row["id"], "tag": tag} for row in made for tag in row["tags"]]
        connection.execute(insert(repo_tags), tagged)
    return made


@pytest.fixture
def callers(caller: Callable[[str], Caller]) -> list[Caller]:
    return [NOBODY, caller("alice"), caller("bob"), caller("root")]


def _whole(world: Any, who: Caller, wanted: Wanted, limit: int) -> list[int]:
    """All pages."""
    found: list[int] = []
    after: Cursor | None = None
    with world.hub.database.read() as connection:
        while True:
            ids, after = page(connection, who, wanted, limit, after)
            assert len(ids) <= limit
            found += ids
            assert len(found) <= NUMBER, "a page comes again"
            if after is None:
                return found


def _readable(world: Any, who: Caller) -> set[int]:
    """By asking for each repository's rights."""
    with world.hub.database.read() as connection:
        every = connection.execute(select(repos)).all()
        return {row.id for row in every if right_on(connection, who, row) >= Right.READ}


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("ascending", [False, True])
def test_pages_are_the_sorted_list_of_what_one_may_see(
    world: Any, rows: Any, callers: list[Caller], sort: str, ascending: bool
) -> None:
    column = SORTS[sort].name
    for who in callers:
        readable = _readable(world, who)
        expected = [row for row in rows if row["kind"] == "model" and row["id"] in readable]
        expected.sort(key=lambda row: (row[column], row["id"]), reverse=not ascending)
        wanted = Wanted("model", sort=sort, ascending=ascending)
        for limit in (1, 7, 1000):
            assert _whole(world, who, wanted, limit) == [row["id"] for row in expected]


@pytest.mark.parametrize("rare", [0, 5, 2000])
@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({"author": "ACME"}, lambda row: row["name_key"].startswith("acme/")),
        ({"author": "nobody"}, lambda row: False),
        (
            {"words": ["MODEL_3", "1"]},
            lambda row: "model_3" in row["name_key"] and "1" in row["name_key"],
        ),
        ({"words": ["%"]}, lambda row: True),
        ({"words": ["l_3%"]}, lambda row: False),
        ({"words": ["nothing"]}, lambda row: False),
        ({"tags": ["rare"]}, lambda row: "rare" in row["tags"]),
        ({"tags": ["zh", "license:mit"]}, lambda row: {"zh", "license:mit"} <= set(row["tags"])),
        ({"tags": ["zh", "rare"]}, lambda row: {"zh", "rare"} <= set(row["tags"])),
        ({"tags": ["nothing"]}, lambda row: False),
        ({"gated": True}, lambda row: row["gated"] is not None),
        ({"gated": False}, lambda row: row["gated"] is None),
        ({"least": 6 * 10**9}, lambda row: (row["parameters"] or 0) >= 6 * 10**9),
        ({"most": 6}, lambda row: row["parameters"] == 5),
        (
            {"author": "acme", "tags": ["zh"], "words": ["model_1"], "gated": False},
            lambda row: (
                row["name_key"].startswith("acme/model_1")
                and "zh" in row["tags"]
                and row["gated"] is None
            ),
        ),
    ],
)
def test_filters_leave_what_fits(
    world: Any,
    rows: Any,
    callers: list[Caller],
    monkeypatch: pytest.MonkeyPatch,
    rare: int,
    wanted: dict[str, Any],
    fits: Callable[[Any], bool],
) -> None:
    monkeypatch.setattr(listing, "RARE", rare)  # both ways to find, whatever is taken for rare
    for who in callers:
        readable = _readable(world, who)
        expected = {row["id"] for row in rows if row["kind"] == "model" and fits(row)} & readable
        assert set(_whole(world, who, Wanted("model", **wanted), 10)) == expected
        with world.hub.database.read() as connection:
            assert listing.count(connection, who, Wanted("model", **wanted)) == len(expected)


@pytest.mark.skipif("LLMOS_TEST_DATABASE" in os.environ, reason="about SQLite's plans")
def test_a_page_reads_no_more_of_many_than_of_few(world: Any, rows: Any) -> None:
    """SQLite tells how it will find a page: along an index, without sorting."""
    asked: list[tuple[str, Any]] = []

    @event.listens_for(world.hub.database.engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        asked.append((statement, parameters))

    after = Cursor(3, 50)
    for sort in SORTS:
        asked.clear()
        with world.hub.database.read() as connection:
            page(connection, NOBODY, Wanted("model", sort=sort), 10, after)
        (statement, parameters) = asked[-1]
        with world.hub.database.read() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        told = " ".join(row[3] for row in plan)
        assert "ix_repos_kind_" in told, told
        assert "TEMP B-TREE" not in told, told


@pytest.mark.parametrize("text", ["x", "1", "1.", "-1.2", "1.2.3", "1e3.4", "9" * 30 + ".1", "١.٢"])
def test_a_cursor_that_was_never_there_is_refused(text: str) -> None:
    with pytest.raises(HubError, match="cursor"):
        listing.read_cursor(text)


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("min:6B,max:128B", (6 * 10**9, 128 * 10**9)),
        ("min:1.5m", (1_500_000, None)),
        ("max:7", (None, 7)),
        ("max:" + "9" * 15 + "T", (None, 1 << 62)),
    ],
)
def test_ranges_of_parameters(text: str, bounds: tuple[int | None, int | None]) -> None:
    assert listing.read_range(text) == bounds


@pytest.mark.parametrize("text", ["6B", "min:", "min:x", "min:1e9", "min:-1", ",", "mid:3"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(HubError, match="num_parameters"):
        listing.read_range(text)
