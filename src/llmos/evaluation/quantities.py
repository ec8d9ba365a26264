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

if TYPE_CHECKING:
    from llmos.evaluation.suites import Benchmark

WINDOWS = "context:half of the window"
"""How a long text is read: see `asking.perplexity`."""


def quantities(benchmark: Benchmark) -> dict[str, Quantity]:
    """By the name in the suite. Raises `UsageError` for a metric that does not fit."""
    if benchmark.task == "perplexity":
        own: dict[str, Quantity] = {
            "bits_per_byte": BitsPerByte(WINDOWS),
            "perplexity": Perplexity(WINDOWS),
        }
        return _chosen(benchmark, own)
    if benchmark.task == "programs":
        ks = [k for k in (1, 5, 10, 100) if k <= benchmark.samples]
        return _chosen(benchmark, {f"pass@{k}": PassAtK(k) for k in ks})
    if not benchmark.metrics:
        raise UsageError("metrics is empty: name at least one")
    return {
        name: metric(
            name,
            language=benchmark.language or None,
            labels=benchmark.labels or None,
            rules=benchmark.rules or None,
        )
        for name in benchmark.metrics
    }


def _chosen(benchmark: Benchmark, own: Mapping[str, Quantity]) -> dict[str, Quantity]:
    names = benchmark.metrics or tuple(own)
    for name in names:
        if name not in own:
            raise UsageError(f"no metric {name!r} for {benchmark.task}: use {', '.join(own)}")
    return {name: own[name] for name in names}
