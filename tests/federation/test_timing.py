"""Where the time goes, with a clock that the test moves."""

from __future__ import annotations

import pytest

from llmos.federation.timing import Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """One number: what `time.perf_counter` says."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return now


def test_an_inner_part_is_taken_off_the_outer(clock: list[float]) -> None:
    watch = Stopwatch()
    with watch("training"):
        clock[0] += 1
        with watch("exchange"):
            clock[0] += 10
            with watch("training"):
                clock[0] += 100
            clock[0] += 20
        clock[0] += 2
    assert watch.take() == {"exchange": 30.0, "training": 103.0}
    assert watch.take() == {}


def test_a_part_that_fails_is_counted_too(clock: list[float]) -> None:
    watch = Stopwatch()
    with pytest.raises(ZeroDivisionError), watch("merge"):
        clock[0] += 0.25
        raise ZeroDivisionError
    clock[0] += 5  # between parts nothing counts
    with watch("merge"):
        clock[0] += 0.5
    assert watch.take() == {"merge": 0.75}
