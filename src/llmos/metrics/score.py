"""What a metric is, and its figure with an interval: alone, and of several members together.

Every metric gives each item a row of numbers that add up; its value is a function of their sums.
So members can send sums instead of texts, and intervals, joint figures and paired tests of all
metrics come from one mechanism. Shapes: N items, K numbers an item.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from llmos.errors import UsageError
from llmos.metrics.bootstrap import Floats, resampled_sums
from llmos.metrics.intervals import check_samples, is_even, percentiles, unseen, wilson, z

_STEP = 1e-3
"""Of a standard deviation: the step of numerical derivatives."""


class Quantity(Protocol):
    """A figure that is a function of sums over items."""

    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> str:
        """Everything that changes the figure: "key:value|key:value"."""
        ...

    @property
    def higher_is_better(self) -> bool: ...
    @property
    def is_share(self) -> bool:
        """Whether rows are (0 or 1, 1), so that the value is a plain share of the items."""
        ...

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that the figure can be; infinite where there is no such number."""
        ...

    def value(self, sums: Floats) -> float:
        """The figure, from rows summed over items: (K,)."""
        ...


class Metric(Quantity, Protocol):
    """A quantity of predicted texts and their references."""

    def rows(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        """What each item adds: (N, K). `references` are one or more texts for each prediction."""
        ...


class IsMean:
    """What quantities have in common whose rows are (figure, 1)."""

    def value(self, sums: Floats) -> float:
        return float(sums[0] / sums[1])


@dataclass(frozen=True)
class Mean(IsMean):
    """The mean of figures that were found elsewhere."""

    name: str
    settings: str = ""
    higher_is_better: bool = True
    is_share: bool = False
    bounds: tuple[float, float] = (-math.inf, math.inf)


def at_least_one(name: str, references: Sequence[Sequence[str]]) -> None:
    """Raises `UsageError` where an item has no reference."""
    for place, texts in enumerate(references):
        if not texts:
            raise UsageError(f"{name}: item {place} has no reference: leave it out")


def mean_rows(figures: Sequence[float] | Floats) -> Floats:
    """The rows of a mean: (figure, 1) for each item, (N, 2)."""
    return np.stack([np.asarray(figures, np.float64), np.ones(len(figures))], axis=1)


@dataclass(frozen=True)
class Score:
    """A figure with its interval, and the sums from which it can be joined with others.

    low, high: -inf and inf where nothing is known of the spread; interval: how they were found.
    sums: (K,), empty for figures that do not add up; moments: (K, K), the rows' products summed
    over items, or None where they were not shared.
    """

    metric: str
    value: float
    low: float
    high: float
    n: int
    settings: str
    interval: str
    sums: tuple[float, ...] = ()
    moments: tuple[tuple[float, ...], ...] | None = None

    def __str__(self) -> str:
        known = f" [{self.low:.4f}, {self.high:.4f}]" if math.isfinite(self.low) else ""
        return f"{self.metric} {self.value:.4f}{known}, n = {self.n}"

    def to_json(self) -> dict[str, Any]:
        """As JSON can say it: null for what is infinite."""
        finite = {
            name: number if math.isfinite(number) else None
            for name, number in (("value", self.value), ("low", self.low), ("high", self.high))
        }
        return {
            "metric": self.metric, **finite, "n": self.n, "settings": self.settings,
            "interval": self.interval, "sums": list(self.sums),
            "moments": None if self.moments is None else [list(row) for row in self.moments],
        }  # fmt: skip

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Score:
        """What `to_json` gave. Raises `UsageError` for a record that is none."""
        try:
            ends = {"value": math.inf, "low": -math.inf, "high": math.inf}
            finite = {k: v if record[k] is None else float(record[k]) for k, v in ends.items()}
            moments = record["moments"]
            return cls(
                metric=str(record["metric"]),
                n=int(record["n"]),
                settings=str(record["settings"]),
                interval=str(record["interval"]),
                sums=tuple(float(number) for number in record["sums"]),
                moments=moments and tuple(tuple(float(x) for x in row) for row in moments),
                **finite,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"a score without {error}: take it from a result of llmos") from error


def score(
    metric: Metric,
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Score:
    """The score of predictions, one for each list of references.

    Raises `UsageError` for none of them, or lengths that differ.
    """
    rows = rows_of(metric, predictions, references)
    counts = {len(texts) for texts in references}
    settings = _with_references(counts.pop() if len(counts) == 1 else "var", metric.settings)
    return score_rows(metric, rows, settings, samples=samples, seed=seed, level=level)


def score_rows(
    quantity: Quantity,
    rows: Floats,
    settings: str = "",
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Score:
    """The score of items whose rows, (N, K), are known: Wilson's interval for a plain share,
    otherwise the percentile bootstrap over items, or `unseen` where no two draws differ.
    `settings` replace the quantity's own.

    Raises `UsageError` without items, or with too few samples for the level.
    """
    n = len(rows)
    if n == 0:
        raise UsageError(f"{quantity.name} of 0 items: give some predictions")
    sums, moments = rows.sum(axis=0), np.einsum("ni,nj->ij", rows, rows)
    value = quantity.value(sums)
    if quantity.is_share:
        (low, high), how = wilson(value, n, level), f"Wilson {level:g}"
    elif n == 1:
        low, high, how = -math.inf, math.inf, "none: one item"
    else:
        check_samples(samples, level)
        drawn = [quantity.value(one) for one in resampled_sums(rows, samples, seed)]
        low, high = percentiles(drawn, level)
        how = f"bootstrap {level:g}, {samples} samples, seed {seed}"
        if is_even(drawn):
            low, high, how = unseen(value, quantity.bounds, n, level)
    return Score(
        quantity.name, value, low, high, n, settings or quantity.settings, how,
        tuple(sums.tolist()), tuple(map(tuple, moments.tolist())),
    )  # fmt: skip


def add(quantity: Quantity, scores: Sequence[Score], *, level: float = 0.95) -> Score:
    """The score of the items of all the members together, exactly: value and n as if their texts
    had been in one place.

    The interval is Wilson's for a plain share; otherwise it comes from the covariance of the sums
    by the delta method (normal, so not the bootstrap's) or, without any spread, from `unseen`; it
    is unknown where a member sent no moments. Raises `UsageError` for scores of another metric, or
    of other settings.
    """
    if not scores:
        raise UsageError(f"{quantity.name} of 0 members: give some scores")
    counts, lengths = set(), set()
    for one in scores:
        nrefs, settings = _without_references(one.settings)
        if (one.metric, settings) != (quantity.name, quantity.settings):
            raise UsageError(
                f"{one.metric} ({settings}) cannot be added to {quantity.name}"
                f" ({quantity.settings}): score all members alike"
            )
        counts.add(nrefs)
        lengths.add(len(one.sums))
    if len(lengths) > 1 or 0 in lengths:
        raise UsageError(f"{quantity.name} does not add up from sums of {sorted(lengths)} numbers")
    n = sum(one.n for one in scores)
    sums = np.array([math.fsum(column) for column in zip(*(s.sums for s in scores), strict=True)])
    value = quantity.value(sums)
    shared = [one.moments for one in scores if one.moments is not None]
    moments = np.sum(np.array(shared), axis=0) if len(shared) == len(scores) else None
    if quantity.is_share:
        (low, high), how = wilson(value, n, level), f"Wilson {level:g}"
    elif moments is None or n == 1:
        low, high, how = -math.inf, math.inf, "none: no moments" if n > 1 else "none: one item"
    else:
        half = z(level) * _standard_error(quantity, sums, moments, n)
        least, most = quantity.bounds
        low, high = max(least, value - half), min(most, value + half)
        how = f"delta method {level:g}"
        if is_even((value - half, value + half)):
            low, high, how = unseen(value, quantity.bounds, n, level)
    nrefs = counts.pop() if len(counts) == 1 else "var"
    return Score(
        quantity.name, value, low, high, n, _with_references(nrefs, quantity.settings), how,
        tuple(sums.tolist()), None if moments is None else tuple(map(tuple, moments.tolist())),
    )  # fmt: skip


def _standard_error(quantity: Quantity, sums: Floats, moments: Floats, n: int) -> float:
    """That of the value, to first order, for n items drawn on their own."""
    covariance = (moments - np.outer(sums, sums) / n) * n / (n - 1)
    spread = np.sqrt(np.maximum(np.diag(covariance), 0))
    gradient = np.zeros(len(sums))
    # A number without spread has no part in it; and a step from a count of 0 could be a leap.
    for k in np.flatnonzero(spread > 1e-9 * np.abs(sums)):
        step = np.zeros(len(sums))
        step[k] = _STEP * spread[k]
        gradient[k] = (quantity.value(sums + step) - quantity.value(sums - step)) / (2 * step[k])
    return math.sqrt(max(0.0, float(gradient @ covariance @ gradient)))


def rows_of(
    metric: Metric, predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> Floats:
    """What each item adds: (N, K). Raises `UsageError` for none of them, or lengths that differ."""
    if len(predictions) != len(references) or not predictions:
        raise UsageError(
            f"{len(predictions)} predictions and {len(references)} references: give one of each"
            " for every item"
        )
    return metric.rows(predictions, references)


def _with_references(nrefs: int | str, settings: str) -> str:
    parts = [f"nrefs:{nrefs}"] if nrefs != "" else []
    return "|".join([*parts, settings] if settings else parts)


def _without_references(settings: str) -> tuple[str, str]:
    if not settings.startswith("nrefs:"):
        return "", settings
    first, _, rest = settings.partition("|")
    return first.removeprefix("nrefs:"), rest
