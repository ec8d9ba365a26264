"""The quantities of a benchmark's part of a result, as the result tells them. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from llmos.evaluation.quantities import quantities
from llmos.evaluation.suites import benchmark
from llmos.metrics.score import Mean, Quantity
from llmos.records import JSON

HARNESS = "lm-eval"
"""The task of parts that lm-evaluation-harness measured."""


def quantities_of(parts: Sequence[JSON]) -> dict[str, Quantity]:
    """By their keys, those of one benchmark in several results.

    Of lm-evaluation-harness's figures only those that are means of the items' are among them:
    others neither add up nor can be compared item by item.
    """
    first = parts[0]
    if first["task"] != HARNESS:
        return quantities(benchmark(first["spec"]))
    found: dict[str, Quantity] = {}
    for score in first["scores"]:
        same = [one for part in parts for one in part["scores"] if one["key"] == score["key"]]
        if all(one["sums"] for one in same):
            is_share = all(one["interval"].startswith("Wilson") for one in same)
            is_better = bool(score["higher_is_better"])
            found[score["key"]] = Mean(score["metric"], score["settings"], is_better, is_share)
    return found
