"""Learning-rate schedules against their closed forms."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.recipe import KEYS, TrainingSection
from llmos.training.schedules import SCHEDULES, learning_rate_factor

COS45 = 0.4 * math.sqrt(0.5)  # half the way from 1 to 0.2, times cos 45°


def factor(schedule: str, step: int, total: int, warmup: int, final: float, **more: float) -> float:
    settings = TrainingSection(
        schedule=schedule, warmup_steps=warmup, final_learning_rate=final, **more
    )
    return learning_rate_factor(settings, step, total)


def test_the_schedules_are_those_of_the_recipe() -> None:
    assert set(SCHEDULES) == set(KEYS["training.schedule"].about.choices)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_is_linear_and_reaches_the_peak(schedule: str) -> None:
    factors = [factor(schedule, step, 100, 5, 0.1) for step in range(6)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # Steps 10, 35, 60, 85, 110 of 10 to 110: a quarter of the way each.
        ("constant", [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 0.8, 0.6, 0.4, 0.2]),
        ("cosine", [1.0, 0.6 + COS45, 0.6, 0.6 - COS45, 0.2]),
        ("wsd", [1.0, 1.0, 1.0, 1.0, 0.2]),
    ],
)
def test_values_after_the_warm_up(schedule: str, expected: list[float]) -> None:
    found = [factor(schedule, step, 110, 10, 0.2) for step in range(10, 111, 25)]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        # Steps 10, 20, ... 110 of 10 to 110: the last `share` of them falls in a line to 0.1.
        (0.2, [1, 1, 1, 1, 1, 1, 1, 1, 1, 0.55, 0.1]),
        (0.5, [1, 1, 1, 1, 1, 1, 0.82, 0.64, 0.46, 0.28, 0.1]),
        (1.0, [1, 0.91, 0.82, 0.73, 0.64, 0.55, 0.46, 0.37, 0.28, 0.19, 0.1]),
    ],
)
def test_wsd_stays_then_falls_in_its_last_share(share: float, expected: list[float]) -> None:
    found = [factor("wsd", step, 110, 10, 0.1, decay_share=share) for step in range(10, 111, 10)]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_past_the_end_the_final_value_stays(schedule: str) -> None:
    final = 1.0 if schedule == "constant" else 0.3
    assert factor(schedule, 100, 100, 0, 0.3) == pytest.approx(final)
    assert factor(schedule, 10**9, 100, 0, 0.3) == pytest.approx(final)


@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.integers(1, 200),
    st.integers(0, 100),
    st.floats(0, 1),
)
def test_factors_rise_then_never_rise_again(
    schedule: str, total: int, warmup: int, final: float
) -> None:
    warmup = min(warmup, total // 2)
    factors = [factor(schedule, step, total, warmup, final) for step in range(total)]
    rising, falling = factors[:warmup], factors[warmup:]
    assert rising == sorted(rising)
    assert all(a >= b - 1e-12 for a, b in pairwise(falling))
    assert max(factors) == pytest.approx(1.0)
    assert min(falling) >= final - 1e-12
    assert all(factor > 0 for factor in rising)
