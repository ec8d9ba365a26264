"""Likes and downloads, counted; the score against a sum over all events."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from llmos.hub.database.tables import repos
from llmos.hub.repos import making, trending
from llmos.hub.repos.likes import set_like

WEEK = trending.HALF_LIFE
START = 3000 * WEEK


@given(st.lists(st.tuples(st.integers(0, 10), st.sampled_from([1.0, 10.0, 250.0])), min_size=1))
def test_a_score_is_the_sum_of_what_events_are_still_worth(events: list[tuple[int, float]]) -> None:
    stored = 0
    for weeks, worth in sorted(events):
        stored = trending.after(stored, START + weeks * WEEK, worth)
    at = START + 10 * WEEK
    expected = sum(worth * 0.5 ** (10 - weeks) for weeks, worth in events)
    assert trending.score(stored, at) == pytest.approx(expected, rel=1e-3, abs=0.51)


def test_a_like_taken_back_is_worth_nothing() -> None:
    once = trending.after(0, START, 10.0)
    twice = trending.after(once, START + WEEK, 10.0)
    assert trending.after(twice, START + WEEK, -10.0) == pytest.approx(once, abs=2)
    assert trending.after(once, START, -10.0) == 0


def test_scores_stay_in_range_for_centuries() -> None:
    assert trending.after(0, 10**15, 10.0) < 1 << 62
    assert trending.score(trending.after(0, 10**15, 1e300), 0) > 0


def _row(world: Any, repo: Any) -> Any:
    with world.hub.database.read() as connection:
        return connection.execute(select(repos).where(repos.c.id == repo.id)).one()


def test_one_account_likes_once(world: Any, caller: Any) -> None:
    alice = caller("alice")
    repo = making.make_repo(world.hub, alice, "model", "acme/a")
    threads = [
        threading.Thread(target=set_like, args=(world.hub, alice.id, repo, True)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _row(world, repo).likes == 1
    assert _row(world, repo).trending > 0
    set_like(world.hub, alice.id, repo, False)
    set_like(world.hub, alice.id, repo, False)
    assert (_row(world, repo).likes, _row(world, repo).trending) == (0, 0)


def test_downloads_are_written_down_together(world: Any, caller: Any, commit: Any) -> None:
    repo = making.make_repo(world.hub, caller("alice"), "model", "acme/a")
    commit(repo, {"config.json": b"{}"})
    for _ in range(3):
        assert world.ask("GET", "/acme/a/resolve/main/config.json").status_code == 200
    gone = making.make_repo(world.hub, caller("alice"), "model", "acme/b")
    world.hub.downloads.count(gone.id)
    making.delete_repo(world.hub, caller("alice"), gone)
    world.hub.downloads.write()
    assert _row(world, repo).downloads == 3
    assert world.ask("GET", "/api/models/acme/a").json()["trendingScore"] == 3
