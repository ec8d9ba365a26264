from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest

from llmos.errors import UsageError
from llmos.metrics.pass_at_k import PassAtK, pass_at_k
from llmos.metrics.score import score_rows


def test_against_counting_the_draws_exactly() -> None:
    for n in (1, 2, 5, 20):
        for c in range(n + 1):
            for k in range(1, n + 1):
                exact = 1 - Fraction(comb(n - c, k), comb(n, k))
                assert pass_at_k(n, c, k) == pytest.approx(float(exact), abs=1e-12)


def test_it_neither_overflows_nor_cancels() -> None:
    exact = 1 - Fraction(comb(9_999, 100), comb(10_000, 100))
    assert pass_at_k(10_000, 1, 100) == pytest.approx(float(exact), rel=1e-9)
    assert pass_at_k(10_000, 0, 100) == 0 and pass_at_k(10_000, 9_950, 100) == 1


def test_the_mean_over_problems() -> None:
    metric = PassAtK(2)
    found = score_rows(metric, metric.rows([4, 4, 3], [0, 2, 3]))
    assert found.value == pytest.approx((0 + (1 - 1 / 6) + 1) / 3) and found.metric == "pass@2"
    for programs, passed, k in ((1, 0, 2), (3, 4, 1), (3, 1, 0)):
        with pytest.raises(UsageError, match=f"pass@{k}"):
            pass_at_k(programs, passed, k)
