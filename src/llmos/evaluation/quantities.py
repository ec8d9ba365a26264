"""The quantities of a benchmark by the names of its metrics. No torch.

What is written is judged by `llmos.metrics.names`; a perplexity and programs have figures of their
own. Results hold a benchmark's description, so whoever has one can rebuild its quantities.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmos.errors import UsageError
from llmos.metrics.names import metric
from llmos.metrics.pass_at_k import PassAtK
from llmos.metrics.perplexity import BitsPerByte, Perplexity
from llmos.metrics.score import Quantity
from llmos.tasks import TASKS

if TYPE_CHECKING:
    from llmos.evaluation.suites import Benchmark

WINDOWS = "context:half of the window"
"""How a long text is read: see `asking.perplexity`."""


class OneProgram(PassAtK):
    """pass@1 of one program a problem: the share of the problems that were solved."""

    is_share = True


def quantities(benchmark: Benchmark) -> dict[str, Quantity]:
    """By the name in the suite; a task has metrics of its own where none are named.

    Raises `UsageError` for a metric that does not fit.
    """
    if benchmark.task == "perplexity":
        own: dict[str, Quantity] = {
            "bits_per_byte": BitsPerByte(WINDOWS),
            "perplexity": Perplexity(WINDOWS),
        }
        return _chosen(benchmark, own)
    if benchmark.task == "programs":
        if benchmark.samples == 1:
            return _chosen(benchmark, {"pass@1": OneProgram()})
        ks = [k for k in (1, 5, 10, 100) if k <= benchmark.samples]
        return _chosen(benchmark, {f"pass@{k}": PassAtK(k) for k in ks})
    names = benchmark.metrics
    if not names and benchmark.task in TASKS:
        names = TASKS[benchmark.task].metrics
    if not names:
        raise UsageError("metrics is empty: name at least one")
    return {
        name: metric(
            name,
            language=benchmark.language or None,
            labels=benchmark.labels or None,
            rules=benchmark.rules or None,
        )
        for name in names
    }


def _chosen(benchmark: Benchmark, own: Mapping[str, Quantity]) -> dict[str, Quantity]:
    names = benchmark.metrics or tuple(own)
    for name in names:
        if name not in own:
            raise UsageError(f"no metric {name!r} for {benchmark.task}: use {', '.join(own)}")
    return {name: own[name] for name in names}
