"""Clusters and groups, with less memory than they need, against plain loops."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.data.dedup.clusters import PAIR, Pairs
from llmos.data.dedup.grouping import Buckets, first_equal

edges = st.lists(
    st.tuples(st.integers(0, 25), st.integers(0, 25)).filter(lambda pair: pair[0] != pair[1]),
    max_size=40,
)


def later_by_search(pairs: list[tuple[int, int]]) -> list[int]:
    """All but the least of each connected component."""
    neighbours: dict[int, set[int]] = {}
    for one, other in pairs:
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    later: list[int] = []
    seen: set[int] = set()
    for start in sorted(neighbours):
        if start in seen:
            continue
        component, waiting = {start}, [start]
        while waiting:
            new = neighbours[waiting.pop()] - component
            component |= new
            waiting += new
        seen |= component
        later += component - {start}
    return sorted(later)


def later_by_pairs(folder: Path, pairs: list[tuple[int, int]], memory: int) -> list[int]:
    found = Pairs(folder, len(pairs), memory)
    for part in (pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]):
        records = np.array([(max(pair), min(pair)) for pair in part], PAIR)
        found.add(records)
    groups = list(found.later())
    return sorted(np.concatenate(groups).tolist())


@settings(max_examples=40, deadline=None)
@given(edges, st.sampled_from([1, 400, 2000, 1 << 20]))
def test_clusters_are_the_connected_components(pairs: list[tuple[int, int]], memory: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert later_by_pairs(Path(folder) / "p", pairs, memory) == later_by_search(pairs)


@pytest.mark.parametrize("memory", [5000, 1 << 20])
def test_a_long_chain_and_a_wide_star(tmp_path: Path, memory: int) -> None:
    pairs = [(n, n + 1) for n in range(150)] + [(1000, n) for n in range(1001, 1400)]
    assert later_by_pairs(tmp_path / "p", pairs, memory) == later_by_search(pairs)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_first_equal(keys: list[tuple[int, int]]) -> None:
    one, two = (np.array([key[n] for key in keys], np.uint64) for n in (0, 1))
    assert first_equal(one, two).tolist() == [keys.index(key) for key in keys]
    values = [key[0] for key in keys]
    assert first_equal(one).tolist() == [values.index(value) for value in values]


@pytest.mark.parametrize("memory", [1, 1000, 10**6])
def test_buckets_hold_equal_hashes_together_in_their_order(tmp_path: Path, memory: int) -> None:
    random = np.random.default_rng(0)
    pool = random.integers(0, 2**64, 40, np.uint64)
    records = np.empty(200, PAIR)
    records["document"] = random.choice(pool, 200)
    records["other"] = np.arange(200)
    buckets = Buckets(tmp_path / "b", PAIR, 200, memory)
    for part in np.split(records, [70, 70, 130]):
        buckets.spread(part, part["document"])
    groups = list(buckets)
    assert buckets.count >= min(200, 200 * 16 // memory)
    assert sorted(np.concatenate(groups)["other"].tolist()) == list(range(200))
    seen: set[int] = set()
    for group in groups:
        assert seen.isdisjoint(group["document"].tolist())
        assert np.all(np.diff(group["other"].astype(np.int64)) > 0)
        seen.update(group["document"].tolist())
